package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign"
	"github.com/cairn-dev/cairn/sign/cosign"
	"github.com/cairn-dev/cairn/sign/cosign/cosigntest"
)

func signable(t *testing.T) string {
	t.Helper()
	img, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "image")
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendImage(img); err != nil {
		t.Fatal(err)
	}
	return dir
}

// command runs one command line and returns what it printed.
func command(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, streams{strings.NewReader(""), &o, &e})
	return code, o.String(), e.String()
}

func TestSignKeyless(t *testing.T) {
	s := cosigntest.Start(t)
	config, root := s.Files(t)
	t.Setenv("CAIRN_ID_TOKEN", cosigntest.Token("ES256", cosigntest.Subject, time.Now().Add(time.Minute)))
	code, out, errs := command(t, "sign", "--keyless", "--signing-config", config, "--trusted-root", root, "--format", "json", signable(t))
	if code != exitOK {
		t.Fatalf("exit code %d\n%s", code, errs)
	}
	var r sign.Result
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if r.Signer != cosigntest.Subject+" ("+cosigntest.Issuer+")" || len(r.Outcomes) != 2 || r.Outcomes[1].State != cosign.Written || r.Outcomes[1].Manifest == "" {
		t.Errorf("%+v", r)
	}
}

// No way of failing prints the token: not in the environment, not in a file,
// not with a service that repeats it.
func TestTokensAreNotPrinted(t *testing.T) {
	s := cosigntest.Start(t)
	config, root := s.Files(t)
	image := signable(t)
	deny := "signingCert"
	for name, token := range map[string]string{
		"denied":  cosigntest.Token("ES256", cosigntest.Subject, time.Now().Add(time.Minute)),
		"expired": cosigntest.Token("RS256", cosigntest.Subject, time.Now().Add(-time.Minute)),
		"none":    "this-is-no-token-but-a-secret",
	} {
		s.Deny.Store(&deny)
		file := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, how := range [][]string{{"--identity-token-file", file}, nil} {
			t.Setenv("CAIRN_ID_TOKEN", token)
			args := append([]string{"sign", "-v", "--keyless", "--signing-config", config, "--trusted-root", root, image}, how...)
			code, out, errs := command(t, args...)
			if code == exitOK || strings.Contains(out+errs, token) {
				t.Errorf("%s %v: exit code %d\n%s%s", name, how, code, out, errs)
			}
		}
	}
}

func TestSignExitCodes(t *testing.T) {
	for code, errs := range map[int][]error{
		exitUsage:       {sign.ErrOptions, target.ErrReference, target.ErrAmbiguous},
		exitConfig:      {cosign.ErrConfig, cosign.ErrToken},
		exitUnverified:  {cosign.ErrSelfCheck, target.ErrMismatch, target.ErrLimit, target.ErrMalformed},
		exitUnreachable: {target.ErrUnreachable, cosign.ErrService},
		exitStorage:     {&cosign.IncompleteError{Err: target.ErrUnreachable}},
	} {
		for _, err := range errs {
			if got := exitCode(fmt.Errorf("sign: %w", err)); got != code {
				t.Errorf("%v: exit code %d, expected %d", err, got, code)
			}
		}
	}
}
