// Command gen makes the packages of builtin://demo. It needs the C compilers of
// both architectures (gcc and aarch64-linux-gnu-gcc, Debian's packages) and
// runs by `make demo`; it is not part of cairn.
//
//	go run ./packages/repository/demo/gen -out packages/repository/demo/repo
package main

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/crypto/x509roots/fallback/bundle"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/repository/demo"
)

// built is the build time of all packages: 2026-11-01T00:00:00Z.
const built = 1793491200

func main() {
	log.SetFlags(0)
	out := flag.String("out", "repo", "folder to write")
	source := flag.String("source", "src/hello.c", "source of the web server")
	flag.Parse()
	if err := generate(*out, *source); err != nil {
		log.Fatal("gen: ", err)
	}
}

// generate replaces the folder when all of it is made. Every run makes a new key.
func generate(out, source string) (err error) {
	fresh := out + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.RemoveAll(fresh)
		}
	}()
	if err := fill(fresh, source); err != nil {
		return err
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	return os.Rename(fresh, out)
}

// fill makes keys, packages and indexes in a new folder.
func fill(out, source string) error {
	private, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		return err
	}
	key := &apktest.Key{Name: demo.KeyName, Private: private}
	if err := write(filepath.Join(out, demo.KeyName), key.PublicPEM()); err != nil {
		return err
	}
	zones, err := timezones()
	if err != nil {
		return err
	}
	common := []apktest.Spec{layout(), certificates(), zones}
	var entries []apk.Package
	for _, s := range common {
		p, err := emit(out, "noarch", s, key)
		if err != nil {
			return err
		}
		entries = append(entries, p)
	}
	for arch, cc := range map[string]string{"x86_64": "gcc", "aarch64": "aarch64-linux-gnu-gcc"} {
		s, err := hello(arch, cc, source)
		if err != nil {
			return err
		}
		p, err := emit(out, arch, s, key)
		if err != nil {
			return err
		}
		repo := apktest.Repository{Arch: arch, Key: key, Description: "cairn demo"}
		all := append(slices.Clone(entries), p)
		slices.SortFunc(all, func(a, b apk.Package) int { return strings.Compare(a.Name, b.Name) })
		if err := write(filepath.Join(out, arch, "APKINDEX.tar.gz"), repo.Index(all)); err != nil {
			return err
		}
	}
	return nil
}

func emit(out, arch string, s apktest.Spec, key *apktest.Key) (apk.Package, error) {
	s.Package.Arch, s.Package.BuildTime, s.Package.Origin = arch, built, s.Package.Name
	s.Package.Maintainer = "The cairn authors"
	s.Sign, s.Parents = key, true
	for i := range s.Files {
		s.Files[i].MTime = built
	}
	s.Files = append(s.Files, sbom(s.Package))
	raw, p := apktest.BuildEntry(s)
	return p, write(filepath.Join(out, arch, p.Filename()), raw)
}

func layout() apktest.Spec {
	dir := func(path string, mode int64) apktest.File {
		return apktest.File{Path: path, Type: apk.TypeDir, Mode: mode}
	}
	file := func(path, content string) apktest.File { return apktest.File{Path: path, Content: content} }
	return apktest.Spec{
		Package: apk.Package{Name: "cairn-baselayout", Version: "1.0-r0", License: "Apache-2.0",
			Description: "Directories and account files that programs expect"},
		Files: []apktest.File{
			dir("dev", 0o755), dir("etc", 0o755),
			file("etc/group", "root:x:0:root\ntty:x:5:\nnobody:x:65534:\n"),
			file("etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n"),
			file("etc/os-release", "ID=cairn-demo\nNAME=\"cairn demo\"\nPRETTY_NAME=\"cairn demo\"\nVERSION_ID=1\nHOME_URL=\"https://github.com/cairn-dev/cairn\"\n"),
			file("etc/passwd", "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n"),
			dir("home", 0o755), dir("proc", 0o555), dir("root", 0o700), dir("run", 0o755), dir("sys", 0o555),
			dir("tmp", 0o1777), dir("usr", 0o755), dir("usr/bin", 0o755), dir("usr/share", 0o755),
			dir("var", 0o755), dir("var/tmp", 0o1777),
		},
	}
}

// certificates makes the bundle from the roots that Go's own programs fall back
// to. Roots with a constraint that a PEM bundle cannot express are left out.
func certificates() apktest.Spec {
	var pems bytes.Buffer
	for root := range bundle.Roots() {
		if root.Constraint == nil {
			_ = pem.Encode(&pems, &pem.Block{Type: "CERTIFICATE", Bytes: root.Certificate})
		}
	}
	return apktest.Spec{
		Package: apk.Package{Name: "ca-certificates-bundle", Version: moduleDate() + "-r0", License: "MPL-2.0",
			URL:         "https://pkg.go.dev/golang.org/x/crypto/x509roots/fallback",
			Description: "Root certificates of the Go x509roots module",
			Provides:    []apk.Dependency{{Name: "ca-certificates-cacert", Op: apk.OpEqual, Version: moduleDate() + "-r0"}}},
		Files: []apktest.File{
			{Path: "etc/ssl/certs/ca-certificates.crt", Content: pems.String()},
			{Path: "etc/ssl/cert.pem", Type: apk.TypeSymlink, Link: "certs/ca-certificates.crt"},
		},
	}
}

// moduleDate is the date in the pseudo-version of the x509roots module.
func moduleDate() string {
	b, err := exec.Command("go", "list", "-m", "-f", "{{.Version}}", "golang.org/x/crypto/x509roots/fallback").Output()
	date := regexp.MustCompile(`-(\d{8})\d{6}-`).FindSubmatch(b)
	if err != nil || date == nil {
		log.Fatalf("gen: version of the x509roots module: %q %v", b, err)
	}
	return string(date[1])
}

func timezones() (apktest.Spec, error) {
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return apktest.Spec{}, err
	}
	root := filepath.Join(strings.TrimSpace(string(goroot)), "lib", "time")
	release, err := os.ReadFile(filepath.Join(root, "update.bash"))
	if err != nil {
		return apktest.Spec{}, err
	}
	version := regexp.MustCompile(`DATA=(\d{4}[a-z])`).FindSubmatch(release)
	if version == nil {
		return apktest.Spec{}, fmt.Errorf("update.bash: no release of the time zone data")
	}
	s := apktest.Spec{Package: apk.Package{Name: "tzdata", Version: string(version[1]) + "-r0",
		License: "LicenseRef-public-domain", URL: "https://www.iana.org/time-zones",
		Description: "Time zone data of the Go distribution"}}
	z, err := zip.OpenReader(filepath.Join(root, "zoneinfo.zip"))
	if err != nil {
		return s, err
	}
	defer z.Close()
	for _, f := range z.File {
		if strings.HasSuffix(f.Name, "/") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return s, err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return s, err
		}
		s.Files = append(s.Files, apktest.File{Path: "usr/share/zoneinfo/" + f.Name, Content: string(b)})
	}
	slices.SortFunc(s.Files, func(a, b apktest.File) int { return strings.Compare(a.Path, b.Path) })
	return s, nil
}

func hello(arch, cc, source string) (apktest.Spec, error) {
	s := apktest.Spec{Package: apk.Package{Name: "hello-http", Version: "1.0-r0", License: "Apache-2.0",
		URL:         "https://github.com/cairn-dev/cairn",
		Description: "A web server of one page",
		Depends:     []apk.Dependency{{Name: "cairn-baselayout"}}}}
	bin := filepath.Join(os.TempDir(), "cairn-demo-hello-"+arch)
	defer os.Remove(bin)
	cmd := exec.Command(cc, "-Os", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector",
		"-fno-asynchronous-unwind-tables", "-fno-pic", "-no-pie", "-fno-builtin", "-Wall", "-Wextra", "-Werror",
		"-Wl,--build-id=none", "-Wl,-z,noseparate-code", "-Wl,-z,noexecstack", "-s", "-o", bin, source)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return s, fmt.Errorf("%s: %w", cc, err)
	}
	b, err := os.ReadFile(bin)
	s.Files = []apktest.File{{Path: "usr/bin/hello-http", Mode: 0o755, Content: string(b)}}
	return s, err
}

// sbom is the package's own SPDX document, as melange embeds one.
func sbom(p apk.Package) apktest.File {
	id := "SPDXRef-Package-" + p.ID()
	doc := map[string]any{
		"SPDXID": "SPDXRef-DOCUMENT", "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0",
		"name":              "apk-" + p.ID(),
		"documentNamespace": "https://github.com/cairn-dev/cairn/demo/" + p.ID() + "-" + p.Arch,
		"creationInfo":      map[string]any{"created": "2026-11-01T00:00:00Z", "creators": []string{"Tool: cairn-demo-gen"}},
		"documentDescribes": []string{id},
		"packages": []any{map[string]any{
			"SPDXID": id, "name": p.Name, "versionInfo": p.Version, "filesAnalyzed": false,
			"licenseConcluded": "NOASSERTION", "licenseDeclared": p.License, "downloadLocation": "NOASSERTION",
			"copyrightText": "NOASSERTION", "supplier": "Organization: The cairn authors",
			"externalRefs": []any{map[string]any{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl",
				"referenceLocator": "pkg:apk/cairn-demo/" + p.Name + "@" + p.Version + "?arch=" + p.Arch}},
		}},
		"relationships": []any{map[string]any{"spdxElementId": "SPDXRef-DOCUMENT",
			"relationshipType": "DESCRIBES", "relatedSpdxElement": id}},
	}
	if strings.HasPrefix(p.License, "LicenseRef-") {
		doc["hasExtractedLicensingInfos"] = []any{map[string]any{"licenseId": p.License,
			"extractedText": "The time zone database is in the public domain."}}
	}
	b, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		log.Fatal("gen: ", err)
	}
	return apktest.File{Path: "var/lib/db/sbom/" + p.ID() + ".spdx.json", Content: string(b) + "\n", MTime: built}
}

func write(path string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}
