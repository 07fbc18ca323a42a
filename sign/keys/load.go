package keys

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// maxKey bounds what is read of a file that should be a key, in bytes.
const maxKey = 64 << 10

// Options say where passwords and keys in the environment come from. Nothing is
// taken from the process by itself.
type Options struct {
	// LookupEnv reads the environment: CAIRN_PASSWORD, COSIGN_PASSWORD and what
	// env:// references name; nil for no environment.
	LookupEnv func(string) (string, bool)
	// PasswordFile holds the password; a line end after it does not belong to
	// it. Empty for none.
	PasswordFile string
	// Prompt asks a person; nil when there is none to ask.
	Prompt func(prompt string) ([]byte, error)
}

func (o *Options) env(name string) (string, bool) {
	if o.LookupEnv == nil {
		return "", false
	}
	return o.LookupEnv(name)
}

// passwordVariables, in the order in which they are looked at.
var passwordVariables = []string{"CAIRN_PASSWORD", "COSIGN_PASSWORD"}

// Password returns the password for a key: from the file, from the
// environment, where a variable that is set and empty is an empty password, or
// from a person.
func (o *Options) Password(prompt string) ([]byte, error) {
	if o.PasswordFile != "" {
		raw, err := readPrivate(o.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("%w file: %w", ErrPassword, err)
		}
		return []byte(strings.TrimSuffix(strings.TrimSuffix(string(raw), "\n"), "\r")), nil
	}
	for _, name := range passwordVariables {
		if value, ok := o.env(name); ok {
			return []byte(value), nil
		}
	}
	if o.Prompt == nil {
		return nil, fmt.Errorf("%w: none given, and no terminal to ask at\nhint: set CAIRN_PASSWORD, or name a file with --password-file", ErrPassword)
	}
	return o.Prompt(prompt)
}

// NewPassword is Password for a key that is being made: a person is asked
// twice.
func (o *Options) NewPassword(prompt string) ([]byte, error) {
	first, err := o.Password(prompt)
	if _, set := o.env(passwordVariables[0]); err != nil || o.PasswordFile != "" || set || o.Prompt == nil {
		return first, err
	}
	if _, set := o.env(passwordVariables[1]); set {
		return first, nil
	}
	second, err := o.Prompt(prompt + " again")
	if err != nil {
		return nil, err
	}
	defer clear(second)
	if string(first) != string(second) {
		return nil, fmt.Errorf("%w: the two entries differ", ErrPassword)
	}
	return first, nil
}

// Load reads a private key:
//
//	release.key         a file, which nobody else may read
//	env://SIGNING_KEY   the variable SIGNING_KEY of the environment
//	scheme://...        a key management service, through the program
//	                    sigstore-kms-scheme on PATH (Sigstore's CLI plugins)
func Load(ctx context.Context, ref string, o Options) (*Key, error) {
	k, err := load(ctx, ref, &o)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", ref, err)
	}
	return k, nil
}

func load(ctx context.Context, ref string, o *Options) (*Key, error) {
	if isKMS(ref) {
		return loadKMS(ctx, ref)
	}
	raw, err := o.read(ref, readPrivate)
	if err != nil {
		return nil, err
	}
	defer clear(raw)
	var password []byte
	if Encrypted(raw) {
		if password, err = o.Password("Password for " + ref); err != nil {
			return nil, err
		}
		defer clear(password)
	}
	return Parse(raw, password)
}

// LoadPublic reads a public key. It takes the same references as Load; what
// they name may be a public key, or a private one without a password, of which
// the public half is returned.
func LoadPublic(ctx context.Context, ref string, o Options) (crypto.PublicKey, error) {
	public, err := loadPublic(ctx, ref, &o)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", ref, err)
	}
	return public, nil
}

func loadPublic(ctx context.Context, ref string, o *Options) (crypto.PublicKey, error) {
	if isKMS(ref) {
		k, err := loadKMS(ctx, ref)
		if err != nil {
			return nil, err
		}
		return k.public, nil
	}
	raw, err := o.read(ref, readFile)
	if err != nil {
		return nil, err
	}
	public, err := ParsePublic(raw)
	if err != nil && strings.Contains(string(raw), "PRIVATE KEY-----") {
		return nil, fmt.Errorf("%w\nhint: this is the private key; cairn key public prints the public one", err)
	}
	return public, err
}

// read gets the bytes of a key.
func (o *Options) read(ref string, file func(string) ([]byte, error)) ([]byte, error) {
	if ref == "" {
		return nil, fmt.Errorf("%w: no reference: expected a file, env://VARIABLE or scheme://…", ErrKey)
	}
	name, ok := strings.CutPrefix(ref, "env://")
	if !ok {
		return file(ref)
	}
	value, ok := o.env(name)
	if !ok || value == "" {
		return nil, fmt.Errorf("%w: the environment has no variable %s", ErrKey, name)
	}
	return []byte(value), nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readKey(f)
}

func readKey(r io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxKey+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > maxKey {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrKey, maxKey)
	}
	return raw, nil
}

// readPrivate reads a file that must be its owner's alone. What is not a
// regular file, such as a pipe, has no readers to speak of.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if fi.IsDir() {
		return nil, fmt.Errorf("%w: a directory", ErrKey)
	}
	if mode := fi.Mode(); mode.IsRegular() && mode.Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%w: mode %04o: expected 0600\nhint: chmod 600 %s", ErrExposed, mode.Perm(), path)
	}
	return readKey(f)
}

var schemeForm = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)

func isKMS(ref string) bool {
	scheme, _, ok := strings.Cut(ref, "://")
	return ok && scheme != "env" && schemeForm.MatchString(scheme)
}

// loadKMS asks the plugin for the public key, and then for a signer with the
// hash that goes with it; that one signs when it is asked to.
func loadKMS(ctx context.Context, ref string) (*Key, error) {
	scheme, _, _ := strings.Cut(ref, "://")
	program := cliplugin.PluginBinaryPrefix + scheme
	plugin, err := cliplugin.LoadSignerVerifier(ctx, ref, crypto.SHA256)
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%w: no program %s on PATH\nhint: keys in a service are used through Sigstore's plugins, which are programs of their own", ErrKey, program)
	}
	if err != nil {
		return nil, err
	}
	public, err := plugin.PublicKey(options.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	k, err := newKey(public, plugin)
	if err != nil || k.details.GetHashType() == crypto.SHA256 {
		return k, err
	}
	k.signer, err = cliplugin.LoadSignerVerifier(ctx, ref, k.details.GetHashType())
	return k, err
}

// Write puts the pair at prefix.key, for its owner alone, and prefix.pub. It
// replaces nothing, and leaves nothing behind when it fails.
func (p *Pair) Write(prefix string) (err error) {
	private, public := prefix+".key", prefix+".pub"
	for _, path := range []string{private, public} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			if err == nil {
				err = fs.ErrExist
			}
			return fmt.Errorf("key %s: %w\nhint: keys are not replaced; --output names others", path, err)
		}
	}
	if err := writeNew(private, p.Private, 0o600); err != nil {
		return fmt.Errorf("key %s: %w", private, err)
	}
	if err := writeNew(public, p.Public, 0o644); err != nil {
		os.Remove(private)
		return fmt.Errorf("key %s: %w", public, err)
	}
	return nil
}

// writeNew makes a file that appears whole or not at all, and only where none
// is.
func writeNew(path string, content []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".cairn-tmp-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}
