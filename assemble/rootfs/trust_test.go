package rootfs

import (
	"bytes"
	"context"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"chainguard.dev/apko/pkg/build/types"
	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/generate/certs"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// withAnchors adds certificates to a package, as path and content in turn.
func withAnchors(s apktest.Spec, files ...string) apktest.Spec {
	for i := 0; i < len(files); i += 2 {
		f := file(files[i])
		f.Content = files[i+1]
		s.Files = append(s.Files, f)
	}
	return s
}

// hashName is the name of the first link to a certificate by its subject.
func hashName(t *testing.T, text string) string {
	t.Helper()
	links := certs.HashLinks([]certs.File{{Path: "x", Content: []byte(text)}}, func(string) bool { return false })
	if len(links) != 1 {
		t.Fatalf("links %v", links)
	}
	return links[0].Name
}

func TestTrustStore(t *testing.T) {
	a, _ := newCertificate(t, "a")
	b, _ := newCertificate(t, "b")
	local, _ := newCertificate(t, "local")
	corp, corpPrint := newCertificate(t, "corp")
	base := withAnchors(pkg("ca-certificates-1-r0", "usr/sbin/update-ca-certificates", "usr/share/ca-certificates/mozilla/README"),
		"usr/share/ca-certificates/mozilla/B.crt", b, "usr/share/ca-certificates/mozilla/A_(1).crt", a, "usr/share/ca-certificates/mozilla/bad.crt", "none")
	more := withAnchors(pkg("more-1-r0"), "usr/local/share/ca-certificates/local.crt", local, "usr/local/share/ca-certificates/again.crt", a, "etc/ssl/certs/own.pem", b)
	cfg := withCertificates(types.ImageCertificates{Additional: []types.AdditionalCertificateEntry{{Name: "corp", Content: corp}}})
	tree := plan(t, input(t, cfg, base, more))

	e := tree.Lookup("etc/ssl/certs/ca-certificates.crt")
	if got, want := string(e.Content), a+b+local+corp+"\n"; got != want || e.Mode != 0o644 || e.UID != 0 || e.MTime != epoch.Unix() {
		t.Errorf("bundle %o:\n%s\nexpected\n%s", e.Mode, got, want)
	}
	if e.Owner != (Owner{OwnedByGenerator, "ca-certificates"}) || !slices.Equal(e.Derived, []string{"ca-certificates", "more", "certificates.additional[0]"}) {
		t.Errorf("bundle: owner %v, made from %q", e.Owner, e.Derived)
	}
	if got, want := content(t, tree, "etc/ca-certificates.conf"), string(certs.Conf([]string{"mozilla/A_(1).crt", "mozilla/B.crt", "mozilla/bad.crt"})); got != want {
		t.Errorf("list %q, expected %q", got, want)
	}
	corpName := "corp-" + corpPrint
	want := map[string]string{
		"A_=1=.pem": "/usr/share/ca-certificates/mozilla/A_(1).crt", "B.pem": "/usr/share/ca-certificates/mozilla/B.crt",
		"local.pem": "/usr/local/share/ca-certificates/local.crt", "again.pem": "/usr/local/share/ca-certificates/again.crt",
		corpName + ".pem": "/usr/local/share/ca-certificates/" + corpName + ".crt",
		hashName(t, a):    "A_=1=.pem", hashName(t, b): "B.pem", hashName(t, local): "local.pem", hashName(t, corp): corpName + ".pem",
	}
	got := map[string]string{}
	for i := range tree.Entries {
		e := &tree.Entries[i]
		if name, ok := strings.CutPrefix(e.Path, "etc/ssl/certs/"); ok && e.Link != "" {
			got[name] = e.Link
			if e.Owner != (Owner{OwnedByGenerator, "ca-certificates"}) || len(e.Derived) != 1 {
				t.Errorf("%s: owner %v, made from %q", e.Path, e.Owner, e.Derived)
			}
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("links %s", d)
	}
	if e := tree.Lookup("etc/ssl/certs/" + hashName(t, corp)); e.Derived[0] != "certificates.additional[0]" {
		t.Errorf("%s made from %q", e.Path, e.Derived)
	}
	if w := "/usr/share/ca-certificates/mozilla/bad.crt is not trusted: 0 certificates, expected one or more: not one certificate in PEM"; !slices.Equal(tree.Warnings, []string{w}) {
		t.Errorf("warnings %q", tree.Warnings)
	}
}

// What the image has decides whether a trust store is made, and from what.
func TestTrustStoreWanted(t *testing.T) {
	a, _ := newCertificate(t, "a")
	b, _ := newCertificate(t, "b")
	ca := withAnchors(pkg("ca-1-r0"), "usr/share/ca-certificates/a.crt", a, "usr/share/ca-certificates/sub/b.crt", b)
	linked := withAnchors(pkg("ca-1-r0", "usr/share/ca-certificates/z.crt -> /opt/a", "usr/share/ca-certificates/gone.crt -> /opt/none"), "opt/a", a)
	for _, c := range []struct {
		name string
		cfg  *config.Config
		pkgs []apktest.Spec
		want string // the bundle; empty: none is made
	}{
		{"nothing else", nil, []apktest.Spec{ca}, a + b},
		{"a link to a certificate", nil, []apktest.Spec{linked}, a},
		{"a bundle", nil, []apktest.Spec{ca, pkg("bundle-1-r0", "etc/ssl/certs/ca-certificates.crt")}, ""},
		{"a bundle elsewhere", nil, []apktest.Spec{ca, pkg("bundle-1-r0", "etc/pki/tls/certs/ca-bundle.crt")}, ""},
		{"a link to a bundle", nil, []apktest.Spec{ca, pkg("bundle-1-r0", "etc/ssl/cert.pem -> ../x", "etc/x")}, ""},
		{"a link to none", nil, []apktest.Spec{ca, pkg("bundle-1-r0", "etc/ssl/cert.pem -> certs/ca-certificates.crt")}, a + b},
		{"the configuration's bundle", files(config.File{Path: "/etc/ssl/certs/ca-certificates.crt", Bytes: []byte("x")}), []apktest.Spec{ca}, ""},
		{"deselected", files(config.File{Path: "/etc/ca-certificates.conf", Bytes: []byte("!a.crt\n")}), []apktest.Spec{ca}, b},
		{"listed", nil, []apktest.Spec{ca, pkg("conf-1-r0", "etc/ca-certificates.conf is=sub/b.crt|a.crt|")}, b + a},
		{"all deselected", nil, []apktest.Spec{ca, pkg("conf-1-r0", "etc/ca-certificates.conf is=!sub/b.crt|!a.crt|")}, ""},
		{"no certificates", nil, []apktest.Spec{pkg("a-1-r0", "usr/share/ca-certificates/x")}, ""},
		{"local ones only", nil, []apktest.Spec{withAnchors(pkg("a-1-r0"), "usr/local/share/ca-certificates/a.crt", a)}, ""},
		{"not a certificate", nil, []apktest.Spec{pkg("a-1-r0", "usr/share/ca-certificates/x.crt")}, ""},
		{"too large", nil, []apktest.Spec{withAnchors(pkg("a-1-r0"), "usr/share/ca-certificates/x.crt", a+strings.Repeat("\n", maxAnchor))}, ""},
	} {
		tree := plan(t, input(t, c.cfg, c.pkgs...))
		made := ""
		if e := tree.Lookup("etc/ssl/certs/ca-certificates.crt"); e != nil && e.Owner.Name == generatorCerts {
			made = string(e.Content)
		}
		if made != c.want {
			t.Errorf("%s:\n%s\nexpected\n%s", c.name, made, c.want)
		}
		if links := strings.Count(dump(t, tree), "-> /usr/share/ca-certificates/"); links != strings.Count(c.want, "BEGIN") {
			t.Errorf("%s: %d links", c.name, links)
		}
		if e := tree.Lookup("etc/ca-certificates.conf"); e != nil && e.Owner.Name == generatorCerts {
			t.Errorf("%s: a list for a program that is not there", c.name)
		}
	}
}

// apko makes no bundle, and each package's certificates are read at once.
func TestTrustStoreReads(t *testing.T) {
	a, _ := newCertificate(t, "a")
	b, _ := newCertificate(t, "b")
	in := input(t, nil, withAnchors(pkg("ca-1-r0"), "usr/share/ca-certificates/a.crt", a, "usr/share/ca-certificates/b.crt", b))
	reads, read := 0, in.ReadFiles
	in.ReadFiles = func(ctx context.Context, p int, members []int) ([][]byte, error) {
		reads++
		return read(ctx, p, members)
	}
	if plan(t, in); reads != 1 {
		t.Errorf("the package was read %d times", reads)
	}
	in.Compat = CompatApko
	if tree := plan(t, in); tree.Lookup("etc/ssl") != nil {
		t.Errorf("made for apko:\n%s", dump(t, tree))
	}
}

func TestTrustStoreErrors(t *testing.T) {
	a, _ := newCertificate(t, "a")
	ca := withAnchors(pkg("ca-1-r0"), "usr/share/ca-certificates/a.crt", a)
	for want, other := range map[string]apktest.Spec{
		"ca-certificates: /etc/ca-certificates.conf: expected a regular file": pkg("x-1-r0", "etc/ca-certificates.conf/"),
		"ca-certificates: etc/ssl: not a directory":                           pkg("x-1-r0", "etc/ssl"),
	} {
		if _, err := Plan(context.Background(), input(t, nil, ca, other)); err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
	in := input(t, nil, ca)
	in.ReadFiles = nil
	const want = "ca-certificates: /usr/share/ca-certificates/a.crt: package ca-1-r0: its content is needed, and there is no way to read packages"
	if _, err := Plan(context.Background(), in); err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// The hashes of the links are those of certificates that Go does not read.
func TestTrustStoreNegativeSerial(t *testing.T) {
	a, _ := newCertificate(t, "a")
	block, _ := pem.Decode([]byte(a))
	serial := strings.Index(string(block.Bytes), "\x02\x01\x01")
	block.Bytes[serial+2] = 0x81
	negative := string(pem.EncodeToMemory(block))
	if _, err := certs.ParseAll([]byte(negative)); err == nil {
		t.Fatal("Go reads it")
	}
	tree := plan(t, input(t, nil, withAnchors(pkg("ca-1-r0"), "usr/share/ca-certificates/a.crt", negative)))
	if got := content(t, tree, "etc/ssl/certs/ca-certificates.crt"); got != negative || tree.Lookup("etc/ssl/certs/"+hashName(t, a)) == nil {
		t.Errorf("bundle\n%s", got)
	}
}

// Certificates of one subject are told apart by number, and names that a package
// has are left to it.
func TestTrustStoreNames(t *testing.T) {
	a, _ := newCertificate(t, "a")
	again, _ := newCertificate(t, "a")
	third, _ := newCertificate(t, "a")
	hash := strings.TrimSuffix(hashName(t, a), "0")
	ca := withAnchors(pkg("ca-1-r0", "etc/ssl/certs/"+hash+"1 is=x", "etc/ssl/certs/c.pem -> /nowhere"),
		"usr/share/ca-certificates/a.crt", a, "usr/share/ca-certificates/b.crt", again, "usr/share/ca-certificates/c.crt", third,
		"usr/share/ca-certificates/x/d.crt", third, "usr/local/share/ca-certificates/sub/d.crt", a)
	tree := plan(t, input(t, nil, ca))
	want := "/etc/ssl/certs/" + hash + "0 l 0777 0:0 -> a.pem [generator ca-certificates]\n" +
		"/etc/ssl/certs/" + hash + "1 f 0644 0:0 1 2d711642 [package ca]\n" +
		"/etc/ssl/certs/" + hash + "2 l 0777 0:0 -> b.pem [generator ca-certificates]\n" +
		"/etc/ssl/certs/a.pem l 0777 0:0 -> /usr/share/ca-certificates/a.crt [generator ca-certificates]\n" +
		"/etc/ssl/certs/b.pem l 0777 0:0 -> /usr/share/ca-certificates/b.crt [generator ca-certificates]\n" +
		"/etc/ssl/certs/c.pem l 0777 0:0 -> /nowhere [package ca]\n" +
		"/etc/ssl/certs/d.pem l 0777 0:0 -> /usr/local/share/ca-certificates/sub/d.crt [generator ca-certificates]\n"
	var got strings.Builder
	for line := range strings.Lines(dump(t, tree, "/etc/ssl/certs/*")) {
		if !strings.Contains(line, "ca-certificates.crt") {
			got.WriteString(line)
		}
	}
	if d := cmp.Diff(want, got.String()); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if n := strings.Count(content(t, tree, "etc/ssl/certs/ca-certificates.crt"), "BEGIN"); n != 3 {
		t.Errorf("%d certificates, expected each of the three once", n)
	}
}

// A truststore in PKCS #12 gets the certificates too.
func TestPKCS12Truststore(t *testing.T) {
	corp, corpPrint := newCertificate(t, "corp")
	store, err := os.ReadFile(filepath.Join("..", "generate", "certs", "testdata", "passwordless.p12"))
	if err != nil {
		t.Fatal(err)
	}
	java := withAnchors(pkg("java-cacerts-1-r0", "etc/ssl/certs/java/"), "etc/ssl/certs/java/cacerts mode=444", string(store))
	cfg := withCertificates(types.ImageCertificates{Additional: []types.AdditionalCertificateEntry{{Name: "corp", Content: corp}}})
	e := plan(t, input(t, cfg, java)).Lookup("etc/ssl/certs/java/cacerts")
	block, _ := pem.Decode([]byte(corp))
	if !bytes.Contains(e.Content, block.Bytes) || len(e.Content) < len(store)+len(block.Bytes)+2*len(corpPrint) || e.Mode != 0o444 {
		t.Errorf("%d bytes, mode %o, before %d", len(e.Content), e.Mode, len(store))
	}
	if e.Owner != (Owner{OwnedByGenerator, "ca-certificates"}) || !slices.Equal(e.Derived, []string{"java-cacerts", "certificates.additional[0]"}) {
		t.Errorf("owner %v, made from %q", e.Owner, e.Derived)
	}
}

func TestJavaStoreOfDebian(t *testing.T) {
	a, aPrint := newCertificate(t, "a")
	corp, corpPrint := newCertificate(t, "corp")
	bundle := withAnchors(pkg("ca-1-r0"), "etc/ssl/certs/ca-certificates.crt", a)
	java := pkg("jre-1-r0", "usr/lib/jvm/java-17/lib/security/cacerts -> /etc/ssl/certs/java/cacerts", "usr/lib/jvm/default -> java-17")
	const store = "etc/ssl/certs/java/cacerts"

	cfg := withCertificates(types.ImageCertificates{Additional: []types.AdditionalCertificateEntry{{Name: "corp", Content: corp}}})
	tree := plan(t, input(t, cfg, bundle, java))
	e := tree.Lookup(store)
	if e == nil || e.Mode != 0o644 || e.Owner != (Owner{OwnedByGenerator, "ca-certificates"}) || !slices.Equal(e.Derived, []string{"ca", "certificates.additional[0]"}) {
		t.Fatalf("found %+v", e)
	}
	for _, alias := range []string{aPrint, "corp-" + corpPrint} {
		if bytes.Count(e.Content, []byte(alias)) != 1 {
			t.Errorf("no entry %s", alias)
		}
	}
	for name, specs := range map[string][]apktest.Spec{
		"no bundle":         {java},
		"no Java":           {bundle},
		"a store of itself": {bundle, pkg("jre-1-r0", "usr/lib/jvm/java-17/lib/security/cacerts is=x")},
		"another link":      {bundle, pkg("jre-1-r0", "usr/lib/jvm/java-17/lib/security/cacerts -> /etc/pki/java/cacerts")},
	} {
		if e := plan(t, input(t, nil, specs...)).Lookup(store); e != nil {
			t.Errorf("%s: found %+v", name, e)
		}
	}
	has := pkg("store-1-r0", store+" is=theirs")
	if e := plan(t, input(t, nil, bundle, java, has)).Lookup(store); e == nil || e.Owner.Name != "store" {
		t.Errorf("a package's store: found %+v", e)
	}
	broken := withAnchors(pkg("ca-1-r0"), "etc/ssl/certs/ca-certificates.crt", "none")
	if tree := plan(t, input(t, nil, broken, java)); tree.Lookup(store) != nil || len(tree.Warnings) != 1 ||
		!strings.Contains(tree.Warnings[0], "/etc/ssl/certs/java/cacerts is not made: /etc/ssl/certs/ca-certificates.crt: ") {
		t.Errorf("warnings %q", tree.Warnings)
	}
}
