package repository

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

// Discover looks for the keys of a remote repository: for one whose URL ends in
// /alpine/BRANCH/NAME those that Alpine lists for the branch and architecture
// ([AlpineReleases]), for any other those of the key set that
// <repository>/apk-configuration points to. A repository that offers nothing has
// no keys, which is not an error; neither is a local one.
//
// The keys are only as good as the connection, so that plain http is refused,
// except to this machine. They count for this repository alone.
func (c *Client) Discover(ctx context.Context, src Source) ([]Key, error) {
	if !src.Remote() {
		return nil, nil
	}
	var keys []Key
	var err error
	if branch, ok := alpineBranch(src.URL); ok {
		keys, err = c.discoverAlpine(ctx, branch, src.Arch)
	} else {
		keys, err = c.discoverConfiguration(ctx, src)
	}
	if err != nil {
		return nil, fmt.Errorf("key discovery for %s: %w", src.Redacted(), err)
	}
	return keys, nil
}

// alpineBranch recognises ".../alpine/v3.19/main" and ".../alpine/edge/testing".
func alpineBranch(rawURL string) (branch string, ok bool) {
	u, err := parseURL(rawURL)
	if err != nil {
		return "", false
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	n := len(parts)
	if n < 3 || parts[n-3] != "alpine" || !slices.Contains([]string{"main", "community", "testing"}, parts[n-1]) {
		return "", false
	}
	branch = parts[n-2]
	major, minor, dotted := strings.Cut(strings.TrimPrefix(branch, "v"), ".")
	if branch == "edge" || branch == "latest-stable" || dotted && branch[0] == 'v' && isPort(major) && isPort(minor) {
		return branch, true
	}
	return "", false
}

// releases is the part of releases.json that is used.
type releases struct {
	LatestStable string `json:"latest_stable"`
	Branches     []struct {
		Name string                     `json:"rel_branch"`
		Keys map[string][]releaseKeyURL `json:"keys"`
	} `json:"release_branches"`
}

type releaseKeyURL struct {
	URL        string `json:"url"`
	Deprecated string `json:"deprecated_since"` // YYYY-MM-DD, empty or null
}

func (c *Client) discoverAlpine(ctx context.Context, branch, arch string) ([]Key, error) {
	var list []releaseKeyURL
	err := c.document(ctx, c.opt.AlpineReleasesURL, func(b []byte) (err error) {
		list, err = releaseKeys(b, branch, arch)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Redact(c.opt.AlpineReleasesURL), err)
	}
	var keys []Key
	for _, entry := range list {
		expired, err := c.expired(entry)
		if err != nil {
			return nil, err
		}
		if expired {
			continue
		}
		// The list has been published with "%20" where the file name has "@".
		u := strings.ReplaceAll(entry.URL, "%20", "@")
		if err := notWeaker(c.opt.AlpineReleasesURL, u); err != nil {
			return nil, err
		}
		k, err := c.remoteKey(ctx, u)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// releaseKeys finds the keys of a branch and architecture.
func releaseKeys(b []byte, branch, arch string) ([]releaseKeyURL, error) {
	var r releases
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("found %s: %w", sniff(b), err)
	}
	if branch == "latest-stable" {
		branch = r.LatestStable
	}
	for _, have := range r.Branches {
		if have.Name != branch {
			continue
		}
		list := have.Keys[arch]
		if len(list) == 0 {
			return nil, fmt.Errorf("no keys for %s in branch %s", arch, branch)
		}
		return list, nil
	}
	return nil, fmt.Errorf("no branch %s", branch)
}

func (c *Client) expired(k releaseKeyURL) (bool, error) {
	if k.Deprecated == "" {
		return false, nil
	}
	t, err := time.Parse("2006-01-02", k.Deprecated)
	if err != nil {
		return false, fmt.Errorf("key %s: deprecated_since %.40q: expected YYYY-MM-DD", Redact(k.URL), k.Deprecated)
	}
	return !t.After(c.opt.Now()), nil
}

// notWeaker refuses a link from https to plain http, and to anything else.
func notWeaker(from, to string) error {
	f, err := parseURL(from)
	if err != nil {
		return err
	}
	t, err := parseURL(to)
	if err != nil {
		return err
	}
	if t.Scheme == "https" || t.Scheme == "http" && f.Scheme == "http" && loopback(t.Hostname()) {
		return nil
	}
	return fmt.Errorf("%s points to %s: expected https://", Redact(from), Redact(to))
}

func loopback(host string) bool {
	if ip := net.ParseIP(host); ip != nil {
		return ip.IsLoopback()
	}
	return host == "localhost"
}

func (c *Client) discoverConfiguration(ctx context.Context, src Source) ([]Key, error) {
	u, err := parseURL(src.URL)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "https" && !loopback(u.Hostname()) {
		return nil, errors.New("not over plain http: anyone on the way could supply keys")
	}
	u = u.JoinPath("apk-configuration")
	var configuration struct {
		JWKS string `json:"jwks_uri"`
	}
	err = c.document(ctx, u.String(), func(b []byte) error {
		if err := json.Unmarshal(b, &configuration); err != nil {
			return fmt.Errorf("found %s: %w", sniff(b), err)
		}
		if configuration.JWKS == "" {
			return errors.New("no jwks_uri")
		}
		return notWeaker(u.String(), configuration.JWKS)
	})
	if errors.Is(err, ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("apk-configuration: %w", err)
	}
	var keys []Key
	err = c.document(ctx, configuration.JWKS, func(b []byte) (err error) {
		keys, err = ParseJWKS(b)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Redact(configuration.JWKS), err)
	}
	return keys, nil
}

// maxJWKS bounds the number of keys in a set.
const maxJWKS = 256

// ParseJWKS reads the RSA signing keys of a JSON Web Key Set (RFC 7517). The
// name of a key is its "kid" with ".rsa.pub" after it, as apk-configuration
// servers expect. Keys of other kinds are left out; a set with none that can be
// used is an error.
func ParseJWKS(b []byte) ([]Key, error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(b, &set); err != nil {
		return nil, fmt.Errorf("key set: found %s: %w", sniff(b), err)
	}
	if len(set.Keys) > maxJWKS {
		return nil, fmt.Errorf("key set: %d keys: at most %d expected", len(set.Keys), maxJWKS)
	}
	var keys []Key
	var others []string
	for i, j := range set.Keys {
		if j.Kty != "RSA" || j.Use != "" && j.Use != "sig" {
			others = append(others, fmt.Sprintf("%.20q", strings.Trim(j.Kty+" "+j.Use, " ")))
			continue
		}
		k, err := j.key()
		if err != nil {
			return nil, fmt.Errorf("key set: key %d: %w", i+1, err)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("key set: no RSA signing key (found: %s)", strings.Join(append(others, "nothing else"), ", "))
	}
	return keys, nil
}

type jwk struct {
	Kty string `json:"kty"`
	Use string `json:"use"`
	Kid string `json:"kid"`
	N   string `json:"n"`
	E   string `json:"e"`
}

func (j jwk) key() (Key, error) {
	if j.Kid == "" || KeyName(j.Kid) != j.Kid {
		return Key{}, fmt.Errorf("kid %.80q: expected a file name", j.Kid)
	}
	n, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(j.N, "="))
	if err != nil {
		return Key{}, fmt.Errorf("%.80s: modulus: %w", j.Kid, err)
	}
	e, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(j.E, "="))
	if err != nil {
		return Key{}, fmt.Errorf("%.80s: exponent: %w", j.Kid, err)
	}
	exponent := new(big.Int).SetBytes(bytes.TrimLeft(e, "\x00"))
	if exponent.BitLen() > 31 {
		return Key{}, fmt.Errorf("%.80s: exponent of %d bits: expected at most 31", j.Kid, exponent.BitLen())
	}
	return NewKey(j.Kid+".rsa.pub", &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(exponent.Int64())})
}
