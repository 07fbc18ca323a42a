package certs

import (
	"encoding/pem"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Debian's ca-certificates brings the authorities' certificates one by one; its
// install script makes the bundle and the links from them.
const (
	SharedDir = "usr/share/ca-certificates" // of packages
	ConfPath  = "etc/ca-certificates.conf"  // which of SharedDir to trust
	LinkDir   = "etc/ssl/certs"             // of the bundle and of the links
)

// KnownBundles returns where programs look for a bundle: an image that has one
// of these needs no other. They are those of [BundlePaths] and Go's crypto/x509.
func KnownBundles() []string {
	return append(BundlePaths(), "etc/pki/tls/certs/ca-bundle.crt", "etc/ssl/ca-bundle.pem", "etc/pki/tls/cacert.pem",
		"etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "etc/ssl/cert.pem")
}

// IsAnchor reports whether a file below SharedDir or Dir is a certificate to
// trust, going by its name.
func IsAnchor(name string) bool { return strings.HasSuffix(name, ".crt") }

// Select returns those of the names (relative to SharedDir, sorted) that conf
// trusts. A line is such a name, or "!" and a name that is not to be trusted;
// empty lines and those with "#" count for nothing. Lines with names decide
// alone and give the order, as with update-ca-certificates; where there are
// none, everything that is not deselected is trusted, as after an installation.
func Select(conf []byte, names []string) []string {
	var listed []string
	not := map[string]bool{}
	for line := range strings.Lines(string(conf)) {
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "!"); ok {
			not[name] = true
		} else if line != "" && line[0] != '#' {
			listed = append(listed, line)
		}
	}
	if len(listed) == 0 {
		return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return not[n] })
	}
	var out []string
	for _, name := range listed {
		if slices.Contains(names, name) && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// Conf returns a file for ConfPath that trusts the names. Without it,
// update-ca-certificates in an image made from this one would trust nothing.
func Conf(names []string) []byte {
	return []byte("# Certificates of /" + SharedDir + " to trust; \"!\" before one takes it out.\n" + strings.Join(names, "\n") + "\n")
}

// Bundle returns the certificates of the files one after the other, each once
// and without the text around it; for files in PEM without any, that is what
// update-ca-certificates makes. A file that is not certificates is left out, and
// problems has what is wrong with it, by path.
func Bundle(files []File) (bundle []byte, problems map[string]error) {
	seen, problems := map[string]bool{}, map[string]error{}
	for _, f := range files {
		list, err := anchors(f.Content)
		if err != nil {
			problems[f.Path] = err
			continue
		}
		for _, der := range list {
			if !seen[string(der)] {
				seen[string(der)] = true
				bundle = append(bundle, Certificate{DER: der}.PEM()...)
			}
		}
	}
	return bundle, problems
}

// anchors reads at least one certificate. Other than ParseAll it accepts what
// Go's parser refuses and OpenSSL does not, such as negative serial numbers.
func anchors(text []byte) ([][]byte, error) {
	var list [][]byte
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			if err := unfinished(text); err != nil || len(list) > 0 {
				return list, err
			}
			return nil, fmt.Errorf("0 certificates, expected one or more: %w", ErrCertificate)
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("block %q, expected CERTIFICATE: %w", block.Type, ErrCertificate)
		}
		if _, err := SubjectHash(block.Bytes); err != nil {
			return nil, fmt.Errorf("certificate %d: %w", len(list)+1, err)
		}
		list, text = append(list, block.Bytes), rest
	}
}

// subject returns the Name (RFC 5280, 4.1.2.6) of a certificate's subject.
func subject(der []byte) (cryptobyte.String, error) {
	in := cryptobyte.String(der)
	var cert, tbs, name cryptobyte.String
	ok := in.ReadASN1(&cert, asn1.SEQUENCE) && in.Empty() && cert.ReadASN1(&tbs, asn1.SEQUENCE) &&
		tbs.SkipOptionalASN1(asn1.Tag(0).Constructed().ContextSpecific()) && // version
		tbs.SkipASN1(asn1.INTEGER) && // serialNumber
		tbs.SkipASN1(asn1.SEQUENCE) && // signature
		tbs.SkipASN1(asn1.SEQUENCE) && // issuer
		tbs.SkipASN1(asn1.SEQUENCE) && // validity
		tbs.ReadASN1(&name, asn1.SEQUENCE)
	if !ok {
		return nil, fmt.Errorf("malformed: %w", ErrCertificate)
	}
	return name, nil
}

// Link is a symbolic link in LinkDir.
type Link struct {
	Name, Target string
}

// LinkName returns the name in LinkDir of the link to an anchor.
func LinkName(anchor string) string {
	return strings.NewReplacer(" ", "_", ",", "_", "(", "=", ")", "=").Replace(strings.TrimSuffix(path.Base(anchor), ".crt")) + ".pem"
}

// IsHashed reports whether `openssl rehash` looks for a certificate in a file of
// LinkDir, going by its name.
func IsHashed(name string) bool {
	return slices.Contains([]string{".pem", ".crt", ".cer"}, path.Ext(name))
}

// HashLinks returns links with the names under which OpenSSL looks a subject up,
// HASH.N, to files of LinkDir: those that hold exactly one certificate, which
// no file before had. Path is the file's name in LinkDir. N counts up from the
// first for which taken is false.
func HashLinks(files []File, taken func(name string) bool) []Link {
	var out []Link
	seen, next := map[string]bool{}, map[uint32]int{}
	for _, f := range files {
		list, err := anchors(f.Content)
		if err != nil || len(list) != 1 || seen[string(list[0])] {
			continue
		}
		seen[string(list[0])] = true
		hash, err := SubjectHash(list[0])
		if err != nil {
			continue
		}
		name := ""
		for name == "" || taken(name) {
			name = fmt.Sprintf("%08x.%d", hash, next[hash])
			next[hash]++
		}
		out = append(out, Link{Name: name, Target: f.Path})
	}
	return out
}
