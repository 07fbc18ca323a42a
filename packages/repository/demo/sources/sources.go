// Package sources writes what the packages of builtin://demo are built from: their
// definitions, and beside each the files that it needs. Those that the demonstration
// does not own come from the Go distribution (time zones) and from a Go module (root
// certificates).
//
// It is for `make demo` and for the test that the packages can be made again, and is
// not part of cairn.
//
//	err := sources.Write(ctx, "packages/repository/demo", dir)
package sources

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Epoch is the time of the packages and of their files, RFC 3339.
const Epoch = "2026-11-01T00:00:00Z"

// ErrVersion: what is here is of another version than a definition says.
var ErrVersion = errors.New("other version")

// Write writes the definitions of the directory demo, this package's parent, and the
// files that they need into dir. The error is ErrVersion when the Go distribution or
// the module has other data than the definitions are for.
func Write(ctx context.Context, demo, dir string) error {
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(demo, "src"))); err != nil {
		return err
	}
	if err := certificates(ctx, demo, dir); err != nil {
		return err
	}
	return timezones(ctx, dir)
}

// certificates makes the bundle. Roots with a constraint that a PEM bundle cannot
// express are left out.
func certificates(ctx context.Context, demo, dir string) error {
	cmd := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", "golang.org/x/crypto/x509roots/fallback")
	cmd.Dir = demo
	b, err := cmd.Output()
	date := regexp.MustCompile(`-(\d{8})\d{6}-`).FindSubmatch(b) // of the pseudo-version
	if err != nil || date == nil {
		return fmt.Errorf("version of the x509roots module: %q: %w", b, err)
	}
	if err := isFor(dir, "ca-certificates-bundle", string(date[1])); err != nil {
		return err
	}
	var pems bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			if err := pem.Encode(&pems, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate}); err != nil {
				return err
			}
		}
	}
	return write(filepath.Join(dir, "ca-certificates-bundle", "ca-certificates.crt"), pems.Bytes())
}

// timezones unpacks those of the Go distribution.
func timezones(ctx context.Context, dir string) error {
	goroot, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	root := filepath.Join(strings.TrimSpace(string(goroot)), "lib", "time")
	script, err := os.ReadFile(filepath.Join(root, "update.bash"))
	if err != nil {
		return err
	}
	release := regexp.MustCompile(`DATA=(\d{4}[a-z])`).FindSubmatch(script)
	if release == nil {
		return fmt.Errorf("%s: no release of the time zone data", filepath.Join(root, "update.bash"))
	}
	if err := isFor(dir, "tzdata", string(release[1])); err != nil {
		return err
	}
	z, err := zip.OpenReader(filepath.Join(root, "zoneinfo.zip"))
	if err != nil {
		return err
	}
	defer z.Close()
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") || !filepath.IsLocal(f.Name) {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		if err := write(filepath.Join(dir, "tzdata", "zoneinfo", filepath.FromSlash(f.Name)), b); err != nil {
			return err
		}
	}
	return nil
}

// isFor checks that a definition is for a version.
func isFor(dir, name, version string) error {
	file := filepath.Join(dir, name+".yaml")
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	m := regexp.MustCompile(`(?m)^  version: "?([^"\n]+)"?$`).FindSubmatch(b)
	if m == nil || string(m[1]) != version {
		return fmt.Errorf("%s: %w: is for %q, and here is %s", file, ErrVersion, m[1:], version)
	}
	return nil
}

func write(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}
