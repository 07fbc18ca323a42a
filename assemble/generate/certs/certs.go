// Package certs adds certificates to an image: files of their own, the bundles
// that OpenSSL and Go read, and Java truststores. It does the work of
// update-ca-certificates, which is never run.
//
// It is pure: it is given the stores that the image has and returns files to
// write. It does not decide whom to trust, and does not look at validity dates.
//
//	files, err := certs.Update(certs.Input{
//		Additional: []certs.Named{{Name: "corp", PEM: pem}},
//		Bundles:    []certs.File{{Path: certs.BundlePaths()[0], Content: bundle}},
//		Created:    created,
//	})
package certs

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"
)

// Dir is where each additional certificate gets a file of its own, and where
// packages put theirs.
const Dir = "usr/local/share/ca-certificates"

// ErrCertificate is wrapped by errors that say what is wrong with a certificate.
var ErrCertificate = errors.New("not one certificate in PEM")

// BundlePaths returns the bundles that are extended where an image has them:
// Alpine's and that of AWS ECS.
func BundlePaths() []string {
	return []string{"etc/ssl/certs/ca-certificates.crt", "var/lib/ecs/deps/execute-command/certs/tls-ca-bundle.pem"}
}

// TruststorePaths returns the Java truststores that are extended where an image
// has them.
func TruststorePaths() []string { return []string{"etc/ssl/certs/java/cacerts"} }

// Certificate is a parsed certificate.
type Certificate struct {
	DER         []byte
	Fingerprint string // SHA-256 of DER, lower-case hexadecimal
}

// PEM returns the certificate alone, without the text or headers it came with.
func (c Certificate) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.DER})
}

// Parse reads exactly one certificate. Text around it is ignored; further blocks
// of any kind are an error (wrapping [ErrCertificate]): a private key must not
// end up in a bundle, a second certificate must not be forgotten.
func Parse(text []byte) (Certificate, error) {
	list, err := ParseAll(text)
	switch {
	case err != nil:
		return Certificate{}, err
	case len(list) != 1:
		return Certificate{}, fmt.Errorf("%d certificates, expected one: %w", len(list), ErrCertificate)
	}
	return list[0], nil
}

// ParseAll reads any number of certificates.
func ParseAll(text []byte) ([]Certificate, error) {
	var list []Certificate
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return list, unfinished(text)
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("block %q, expected CERTIFICATE: %w", block.Type, ErrCertificate)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, fmt.Errorf("certificate %d: %w (%w)", len(list)+1, err, ErrCertificate)
		}
		sum := sha256.Sum256(block.Bytes)
		list = append(list, Certificate{DER: block.Bytes, Fingerprint: hex.EncodeToString(sum[:])})
		text = rest
	}
}

// unfinished notices a block that encoding/pem passed over as text.
func unfinished(text []byte) error {
	if bytes.Contains(text, []byte("-----BEGIN ")) {
		return fmt.Errorf("damaged PEM block: %w", ErrCertificate)
	}
	return nil
}

// Named is an entry of the configuration.
type Named struct {
	Name string // letters, digits, "_", "-" and "."; part of a file name
	PEM  []byte
}

// File is a file that the image has or will have.
type File struct {
	Path    string // clean, without leading slash
	Content []byte
	Mode    uint32 // of a new file; 0: that of the file it replaces
}

// Input is what Update works on.
type Input struct {
	Additional []Named
	// Provided are the certificate files (see [IsProvided]) of the packages
	// that the configuration names as providers.
	Provided []File
	// Bundles and Truststores are those that the image has.
	Bundles, Truststores []File
	// Created is the creation time of new truststore entries.
	Created time.Time
}

// IsProvided reports whether a package's file holds certificates to install.
func IsProvided(p string) bool {
	return strings.HasPrefix(p, Dir+"/") && (strings.HasSuffix(p, ".crt") || strings.HasSuffix(p, ".pem"))
}

// entry is a certificate on its way into the stores.
type entry struct {
	Certificate
	alias string
}

// Update returns the files to write: one for each additional certificate (0644,
// Dir/NAME-FINGERPRINT.crt), then the bundles and truststores that change.
// Additional certificates come first, in the order of the configuration, then
// the provided ones in the order of their paths. A certificate that a bundle has
// is not appended again. Nothing is returned when there is nothing to add.
func Update(in Input) ([]File, error) {
	var out []File
	var list []entry
	for _, a := range in.Additional {
		if err := checkName(a.Name); err != nil {
			return nil, err
		}
		c, err := Parse(a.PEM)
		if err != nil {
			return nil, fmt.Errorf("certificate %q: %w", a.Name, err)
		}
		e := entry{c, a.Name + "-" + c.Fingerprint}
		list = append(list, e)
		out = append(out, File{Path: path.Join(Dir, e.alias+".crt"), Content: c.PEM(), Mode: 0o644})
	}
	provided, err := providedEntries(in.Provided)
	if err != nil {
		return nil, err
	}
	list = append(list, provided...)
	for _, b := range in.Bundles {
		if text := appendBundle(b.Content, list); !bytes.Equal(text, b.Content) {
			out = append(out, File{Path: b.Path, Content: text})
		}
	}
	for _, s := range in.Truststores {
		jks, err := appendTruststore(s.Content, list, in.Created)
		if err != nil {
			return nil, fmt.Errorf("truststore %s: %w", s.Path, err)
		}
		if !bytes.Equal(jks, s.Content) {
			out = append(out, File{Path: s.Path, Content: jks})
		}
	}
	return out, nil
}

func checkName(name string) error {
	ok := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.'
	}
	if name == "" || name[0] == '.' || strings.ContainsFunc(name, func(r rune) bool { return !ok(r) }) {
		return fmt.Errorf("certificate name %.100q: expected letters, digits, \"_\", \"-\" and \".\", not at the beginning", name)
	}
	return nil
}

// providedEntries reads the packages' files; each may hold several certificates.
func providedEntries(files []File) ([]entry, error) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	var list []entry
	for _, f := range files {
		certs, err := ParseAll(f.Content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Path, err)
		}
		for _, c := range certs {
			list = append(list, entry{c, "pkg-" + c.Fingerprint})
		}
	}
	return list, nil
}

// appendBundle adds the certificates that the bundle has not, each followed by
// an empty line, as update-ca-certificates does.
func appendBundle(bundle []byte, list []entry) []byte {
	have := map[string]bool{}
	for rest := bundle; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		have[string(block.Bytes)] = true
	}
	out := slices.Clip(bundle)
	for _, e := range list {
		if have[string(e.DER)] {
			continue
		}
		have[string(e.DER)] = true
		if len(out) > 0 && out[len(out)-1] != '\n' {
			out = append(out, '\n')
		}
		out = append(append(out, e.PEM()...), '\n')
	}
	return out
}
