package certs

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSelect(t *testing.T) {
	names := []string{"a.crt", "m/b.crt", "m/c.crt"}
	for _, c := range []struct {
		name, conf, want string
	}{
		{"no file", "", "a.crt m/b.crt m/c.crt"},
		{"comments only", "# nothing\n\n", "a.crt m/b.crt m/c.crt"},
		{"deselected", "!m/b.crt\n! not one\n", "a.crt m/c.crt"},
		{"listed", "# these\nm/c.crt\n!a.crt\n\na.crt", "m/c.crt a.crt"},
		{"listed and not there", "m/x.crt\nm/c.crt\r\nm/c.crt\n", "m/c.crt"},
		{"only what is not there", "m/x.crt\n", ""},
	} {
		if got := strings.Join(Select([]byte(c.conf), names), " "); got != c.want {
			t.Errorf("%s: %q, expected %q", c.name, got, c.want)
		}
	}
	if got := Select(Conf(names[1:]), names); !slices.Equal(got, names[1:]) {
		t.Errorf("own file: %q", got)
	}
}

func TestBundle(t *testing.T) {
	a, b, c := certificate(t, "a"), certificate(t, "b"), certificate(t, "c")
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")})
	got, problems := Bundle([]File{
		{Path: "a.crt", Content: []byte("CN=a\n" + strings.TrimSpace(string(a)))},
		{Path: "key.crt", Content: append(bytes.Clone(b), key...)},
		{Path: "text.crt", Content: []byte("hello")},
		{Path: "cut.crt", Content: b[:50]},
		{Path: "junk.crt", Content: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("junk")})},
		{Path: "c.crt", Content: bytes.Join([][]byte{a, c}, nil)},
	})
	if want := string(a) + string(c); string(got) != want {
		t.Errorf("bundle\n%s\nexpected\n%s", got, want)
	}
	text := map[string]string{}
	for p, err := range problems {
		if text[p] = err.Error(); !errors.Is(err, ErrCertificate) {
			t.Errorf("%s: error of another kind: %v", p, err)
		}
	}
	if d := cmp.Diff(map[string]string{
		"key.crt":  `block "PRIVATE KEY", expected CERTIFICATE: not one certificate in PEM`,
		"text.crt": "0 certificates, expected one or more: not one certificate in PEM",
		"cut.crt":  "damaged PEM block: not one certificate in PEM",
		"junk.crt": "certificate 1: malformed: not one certificate in PEM",
	}, text); d != "" {
		t.Error(d)
	}
}

func TestLinkName(t *testing.T) {
	for anchor, want := range map[string]string{"a/b/X.crt": "X.pem", "NetLock (Class Gold), 2.crt": "NetLock_=Class_Gold=__2.pem", "x.crt.crt": "x.crt.pem"} {
		if got := LinkName(anchor); got != want {
			t.Errorf("%s: %s, expected %s", anchor, got, want)
		}
	}
}

func TestHashLinks(t *testing.T) {
	a, b := certificate(t, "a"), certificate(t, "b")
	other := bytes.Replace(a, []byte("CERTIFICATE-----\n"), []byte("CERTIFICATE-----\nNote: another\n\n"), 1)
	upper := certificate(t, " A ")
	files := []File{
		{Path: "a.pem", Content: a}, {Path: "again.pem", Content: other}, {Path: "b.pem", Content: b},
		{Path: "both.pem", Content: append(bytes.Clone(a), b...)}, {Path: "none.pem", Content: []byte("x")}, {Path: "upper.pem", Content: upper},
	}
	// openssl x509 -subject_hash of CN=a and of CN=b.
	const hashA, hashB = "20b69a40", "fc27cf0f"
	got := HashLinks(files, func(name string) bool { return name == hashA+".1" })
	want := []Link{{hashA + ".0", "a.pem"}, {hashB + ".0", "b.pem"}, {hashA + ".2", "upper.pem"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// needOpenSSL skips where there is no openssl.
func needOpenSSL(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skipf("no openssl to compare with: %v", err)
	}
}

func write(t *testing.T, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// hashedBy lists the links of a directory that `openssl rehash` was run in, as
// HASH and target: it gives out numbers in the order of the directory.
func hashedBy(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		if IsHashed(e.Name()) {
			continue
		}
		if target, err := os.Readlink(filepath.Join(dir, e.Name())); err == nil {
			out = append(out, e.Name()[:8]+" "+target)
		}
	}
	slices.Sort(out)
	return out
}

func withoutNumbers(links []Link) []string {
	var out []string
	for _, l := range links {
		out = append(out, l.Name[:8]+" "+l.Target)
	}
	slices.Sort(out)
	return out
}

// The real `openssl rehash` makes the same links.
func TestHashLinksAsOpenSSL(t *testing.T) {
	needOpenSSL(t)
	dir := t.TempDir()
	var files []File
	for i, s := range subjects(t) {
		f := File{Path: fmt.Sprintf("%02d.pem", i), Content: withSubject(t, s)}
		write(t, filepath.Join(dir, f.Path), f.Content)
		files = append(files, f)
	}
	if out, err := exec.Command("openssl", "rehash", dir).CombinedOutput(); err != nil {
		t.Fatalf("openssl rehash: %v: %s", err, out)
	}
	want := hashedBy(t, dir)
	if d := cmp.Diff(want, withoutNumbers(HashLinks(files, func(string) bool { return false }))); d != "" || len(want) != len(files) {
		t.Errorf("%d links of %d files: %s", len(want), len(files), d)
	}
}

// The machine's own update-ca-certificates makes the same of the machine's own
// certificates.
func TestAsUpdateCACertificates(t *testing.T) {
	needOpenSSL(t)
	tool, err := exec.LookPath("update-ca-certificates")
	shared := "/" + SharedDir
	names, _ := filepath.Glob(shared + "/*/*.crt")
	if text, e := os.ReadFile(tool); err != nil || e != nil || !bytes.Contains(text, []byte("--localcertsdir")) || len(names) < 20 {
		t.Skipf("no update-ca-certificates of Debian's to compare with, or no certificates: %v", err)
	}
	dir := t.TempDir()
	var conf, links []string
	var files, pems []File
	for i, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		rel := strings.TrimPrefix(name, shared+"/")
		if i == 3 {
			conf = append(conf, "!"+rel)
			continue
		}
		conf = append(conf, rel)
		files = append(files, File{Path: rel, Content: content})
		pems = append(pems, File{Path: LinkName(rel), Content: content})
		links = append(links, LinkName(rel))
	}
	write(t, filepath.Join(dir, "conf"), []byte(strings.Join(conf, "\n")+"\n"))
	certs := filepath.Join(dir, "certs")
	if err := os.Mkdir(certs, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool, "--certsconf", filepath.Join(dir, "conf"), "--etccertsdir", certs, "--localcertsdir", dir+"/none", "--hooksdir", dir+"/none")
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("update-ca-certificates: %v: %s", err, out)
	}
	want, err := os.ReadFile(filepath.Join(certs, "ca-certificates.crt"))
	got, problems := Bundle(files)
	if err != nil || len(problems) > 0 || !bytes.Equal(got, want) {
		t.Errorf("bundle of %d bytes, expected %d; %v, %v", len(got), len(want), err, problems)
	}
	made, err := filepath.Glob(filepath.Join(certs, "*.pem"))
	slices.Sort(links)
	for i := range made {
		made[i] = filepath.Base(made[i])
	}
	if d := cmp.Diff(made, links); d != "" || err != nil {
		t.Errorf("links: %v %s", err, d)
	}
	if d := cmp.Diff(hashedBy(t, certs), withoutNumbers(HashLinks(pems, func(string) bool { return false }))); d != "" {
		t.Errorf("links by hash: %s", d)
	}
	t.Logf("%d certificates, as update-ca-certificates has them", len(files))
}
