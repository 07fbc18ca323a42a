package repository

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// Keys reads keys from where a configuration's keyring says: URLs (https://,
// http://, file://), builtin://NAME/PATH, file names, or the PEM text itself.
// A key's name is the last element of the path, unescaped; a key given as text
// has none and may have made a signature of any name. All that is wrong is
// reported, not only the first.
func (c *Client) Keys(ctx context.Context, refs []string) (*Keyring, error) {
	ring := NewKeyring()
	var errs []error
	for _, ref := range refs {
		k, err := c.Key(ctx, ref)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		ring.Add(k)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return ring, nil
}

// Key reads one key as Keys does.
func (c *Client) Key(ctx context.Context, ref string) (Key, error) {
	if strings.Contains(ref, "-----BEGIN") {
		return inlineKey(ref)
	}
	sch, rest, isURL := strings.Cut(ref, "://")
	switch {
	case !isURL:
		return c.fileKey(ref, ref)
	case strings.EqualFold(sch, "https"), strings.EqualFold(sch, "http"):
		return c.remoteKey(ctx, ref)
	case strings.EqualFold(sch, "builtin"):
		return c.builtinKey(ref, rest)
	case strings.EqualFold(sch, "file"):
		_, p := Source{URL: ref}.split()
		if p == "" {
			return Key{}, fmt.Errorf("key %s: expected file:///path", ref)
		}
		return c.fileKey(ref, p)
	}
	return Key{}, fmt.Errorf("key %s: unknown scheme: expected https://, http://, file://, builtin://, a file name or PEM text", Redact(ref))
}

func inlineKey(text string) (Key, error) {
	k, err := ParseKey("(inline)", []byte(text))
	if err != nil {
		return Key{}, err
	}
	k.Name = "inline-" + k.Fingerprint.Hex()[:12] + ".rsa.pub"
	k.AnyName = true
	return k, nil
}

func (c *Client) fileKey(ref, name string) (Key, error) {
	b, err := c.readRegular(c.at(name))
	if err != nil {
		return Key{}, fmt.Errorf("key %s: %w", ref, missing(pathProblem(err)))
	}
	return ParseKey(name, b)
}

// missing makes a missing file an ErrNotFound too.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w (%w)", err, ErrNotFound)
	}
	return err
}

func (c *Client) readRegular(name string) (b []byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	return c.readKey(f)
}

func (c *Client) readKey(f io.ReadCloser) (b []byte, err error) {
	defer func() { err = errors.Join(err, f.Close()) }()
	return readLimit(f, c.opt.Limits.Key)
}

func (c *Client) builtinKey(ref, rest string) (Key, error) {
	name, p, _ := strings.Cut(rest, "/")
	files, ok := c.opt.Builtins[name]
	if !ok {
		return Key{}, fmt.Errorf("key %s: no builtin repository of this name%s", ref, c.builtinNames())
	}
	f, err := files.Open(p)
	if err != nil {
		return Key{}, fmt.Errorf("key %s: %w", ref, missing(pathProblem(err)))
	}
	b, err := c.readKey(f)
	if err != nil {
		return Key{}, fmt.Errorf("key %s: %w", ref, err)
	}
	return ParseKey(p, b)
}

func (c *Client) remoteKey(ctx context.Context, ref string) (k Key, err error) {
	u, err := parseURL(ref)
	if err != nil {
		return Key{}, fmt.Errorf("key %s: %w", Redact(ref), err)
	}
	err = c.document(ctx, ref, func(b []byte) error {
		k, err = ParseKey(u.Path, b)
		return err
	})
	if err != nil {
		return Key{}, fmt.Errorf("%s: %w", Redact(ref), err)
	}
	return k, nil
}
