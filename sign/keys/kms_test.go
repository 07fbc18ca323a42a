package keys

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/kms/cliplugin/handler"
)

// service is the plugin's side: a key management service with one key in a
// file.
type service struct{ signature.SignerVerifier }

func (service) CreateKey(context.Context, string) (crypto.PublicKey, error) {
	return nil, errors.New("not here")
}

func (service) CryptoSigner(context.Context, func(error)) (crypto.Signer, crypto.SignerOpts, error) {
	return nil, nil, errors.New("not here")
}
func (service) SupportedAlgorithms() []string { return nil }
func (service) DefaultAlgorithm() string      { return "" }

// serve answers one call of a plugin.
func serve(out io.Writer, in io.Reader, args []string) error {
	a, err := handler.GetPluginArgs(args)
	if err != nil {
		return err
	}
	raw, err := os.ReadFile(a.InitOptions.KeyResourceID)
	if err != nil {
		return handler.WriteErrorResponse(out, err)
	}
	private, err := cryptoutils.UnmarshalPEMToPrivateKey(raw, nil)
	if err != nil {
		return handler.WriteErrorResponse(out, err)
	}
	sv, err := signature.LoadSignerVerifier(private, a.InitOptions.HashFunc)
	if err != nil {
		return handler.WriteErrorResponse(out, err)
	}
	_, err = handler.Dispatch(out, in, a, service{sv})
	return err
}

func TestMain(m *testing.M) {
	if os.Getenv("CAIRN_TEST_PLUGIN") != "" {
		if err := serve(os.Stdout, os.Stdin, os.Args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// plugin puts a program "sigstore-kms-name" on PATH.
func plugin(t *testing.T, name, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "sigstore-kms-"+name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func TestKMS(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	plugin(t, "test", "CAIRN_TEST_PLUGIN=1 exec "+self+` "$@"`)
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384()} {
		private := ecKey(t, curve)
		path := filepath.Join(t.TempDir(), "k")
		if err := os.WriteFile(path, pkcs8(t, private), 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := Load(t.Context(), "test://"+path, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !k.Public().(*ecdsa.PublicKey).Equal(private.Public()) {
			t.Errorf("public key %v", k.Public())
		}
		checkSigns(t, k)
		public, err := LoadPublic(t.Context(), "test://"+path, Options{})
		if err != nil || !private.PublicKey.Equal(public) {
			t.Errorf("%v, %v", public, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := k.Sign(ctx, []byte("x")); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
	_, err = Load(t.Context(), "test:///absent", Options{})
	if want := "key test:///absent: sigstore-kms-test: plugin returned error: open /absent: no such file or directory"; err == nil || err.Error() != want {
		t.Errorf("found %v\nwant %s", err, want)
	}
}

func TestBrokenPlugins(t *testing.T) {
	plugin(t, "nonsense", "echo hello")
	plugin(t, "kills", "kill -9 $$")
	plugin(t, "weak", `echo '{"PublicKey":{"PublicKeyPEM":"AAAA"}}'`)
	for _, ref := range []string{"nonsense://x", "kills://x", "weak://x"} {
		_, err := Load(t.Context(), ref, Options{})
		if err == nil || !strings.HasPrefix(err.Error(), "key "+ref+": sigstore-kms-") {
			t.Errorf("%s: %v", ref, err)
		}
	}
}
