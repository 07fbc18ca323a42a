package docs

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/cairn-dev/cairn"

type goPackage struct {
	ImportPath   string
	Doc          string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Deps         []string
}

func listPackages(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Doc,Imports,TestImports,XTestImports,Deps"}, args...)...)
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p goPackage
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	return pkgs
}

// rank orders the top-level folders: a package imports only from folders of the
// same or a lower rank.
var rank = map[string]int{"packages": 0, "assemble": 1, "sign": 2, "cmd": 3, "docs": 3}

func topOf(path string) string {
	rest, ok := strings.CutPrefix(path, module+"/")
	if !ok {
		return ""
	}
	top, _, _ := strings.Cut(rest, "/")
	return top
}

func TestImportsRunOneWay(t *testing.T) {
	for _, p := range listPackages(t, "./...") {
		from := topOf(p.ImportPath)
		if _, known := rank[from]; !known {
			t.Errorf("%s: folder %q has no rank", p.ImportPath, from)
		}
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if to := topOf(imp); to != "" && rank[to] > rank[from] {
				t.Errorf("%s imports %s: %s comes before %s", p.ImportPath, imp, from, to)
			}
		}
	}
}

// allowed narrows single rooms: what of the project a room may import.
var allowed = map[string][]string{
	"packages/apk":        {},
	"packages/solve":      {"packages/apk"},
	"packages/lock":       {"packages/apk"},
	"packages/repository": {"packages/apk", "packages/disk", "packages/solve"},
	"packages/store":      {"packages/apk"},
	"packages/definition": {"packages/apk", "packages/spelling"},
	"packages/graph":      {"packages/apk", "packages/definition"},
	"packages/distro":     {"packages/apk", "packages/definition", "packages/disk", "packages/graph", "packages/pack", "packages/repository", "packages/solve", "packages/tree"},
	"packages/tree":       {"packages/apk", "packages/store"},
	"packages/pack":       {"packages/apk", "packages/repository", "packages/store", "packages/tree"},
	"packages/scan":       {"packages/apk", "packages/tree"},
	"packages/lint":       {"packages/apk", "packages/tree"},
	"packages/spelling":   {},
	"packages/disk":       {},
	"assemble/glob":       {},
	"packages/strictyaml": {"packages/spelling"},
	"packages/sbom":       {"packages/apk", "packages/scan", "packages/tree"},
	"sign/evidence":       {"assemble/target"},
	"sign/verify":         {"sign/evidence"},
	"sign/policy":         {"sign/evidence", "assemble/target", "assemble/vex", "sign/verify", "packages/apk", "packages/repository", "packages/strictyaml"},
	"sign/admission":      {"assemble/target", "sign/verify"},
	"assemble/apptree":    {"assemble/glob", "packages/apk"},
	"assemble/config":     {"assemble/apptree", "assemble/slice", "packages/apk", "packages/spelling", "packages/strictyaml"},
	"assemble/slice":      {"assemble/glob", "packages/apk", "packages/spelling", "packages/strictyaml"},
	"assemble/kit":        {"assemble/baseimage", "assemble/config", "packages", "packages/apk", "packages/lock", "packages/repository", "packages/store"},
	"assemble/target":     {"assemble/image"},
	"assemble/subject":    {"assemble/image", "assemble/kit", "assemble/target", "packages/apk", "packages/lock"},
	"assemble/files":      {"assemble/image", "assemble/rootfs", "assemble/subject", "packages/apk", "packages/store"},
	"assemble/imagetest":  {"assemble/files", "assemble/subject", "packages/apk", "packages/strictyaml"},
	"assemble/lint":       {"assemble/baseimage", "assemble/config", "assemble/files", "assemble/generate/ldcache", "assemble/rootfs", "assemble/sarif", "assemble/subject", "packages/apk", "packages/lock", "packages/spelling"},
	"assemble/sarif":      {},
	"assemble/diff":       {"assemble/config", "assemble/image", "assemble/rootfs", "assemble/subject", "packages/apk", "packages/lock"},
	"assemble/rebuild":    {"assemble", "assemble/baseimage", "assemble/config", "assemble/image", "assemble/kit", "assemble/layer", "packages", "packages/apk", "packages/store"},
	"assemble/mirror":     {"assemble/target", "packages", "packages/apk", "packages/lock", "packages/repository", "packages/store"},
	"assemble/vex":        {},
	"assemble/advisory":   {"assemble/vex", "packages/apk", "packages/store"},
	"assemble/quickview":  {"assemble/advisory", "assemble/image", "assemble/subject", "packages/apk", "packages/lock", "assemble/sarif"},
	"assemble/receipts":   {"assemble/layer", "assemble/target", "packages/apk", "packages/store"},
	"assemble/report":     {"assemble/diff", "assemble/image", "assemble/kit", "assemble/rootfs", "assemble/subject", "packages/apk"},
	"sign/keys":           {},
	"sign/attest":         {},
	"sign/cosign":         {"sign/attest", "sign/keys", "assemble/target"},

	"packages/build":          {"packages/apk", "packages/build/runner", "packages/build/source", "packages/definition", "packages/disk", "packages/distro", "packages/lint", "packages/pack", "packages/repository", "packages/sbom", "packages/scan", "packages/tree"},
	"packages/build/runner":   {"packages/definition"},
	"packages/build/source":   {"packages/definition"},
	"assemble/guest":          {"assemble/rootfs", "packages/apk", "packages/disk", "packages/store"},
	"packages/build/buildkit": {"packages/build/runner", "packages/build/unpack", "packages/definition"},
	"packages/build/unpack":   {},
}

func TestRoomsImportOnlyWhatTheyMay(t *testing.T) {
	for _, p := range listPackages(t, "./...") {
		room := strings.TrimPrefix(p.ImportPath, module+"/")
		may, restricted := allowed[room]
		if !restricted {
			continue
		}
		for _, imp := range p.Imports {
			other, ours := strings.CutPrefix(imp, module+"/")
			if ours && !slices.Contains(may, other) && !strings.HasPrefix(other, room+"/") {
				t.Errorf("%s imports %s; it may import %v", room, other, may)
			}
		}
	}
}

// forbidden lists modules that must not be linked into the program, with the
// reason.
var forbidden = map[string]string{
	"chainguard.dev/melange":                      "melange is a test oracle only",
	"github.com/sigstore/cosign/v2/cmd":           "only cosign's libraries are used",
	"github.com/aws/aws-sdk-go":                   "cloud SDKs are plugins",
	"github.com/aws/aws-sdk-go-v2":                "cloud SDKs are plugins",
	"github.com/Azure/azure-sdk-for-go":           "cloud SDKs are plugins",
	"cloud.google.com/go":                         "cloud SDKs are plugins",
	"google.golang.org/api":                       "cloud SDKs are plugins",
	"github.com/docker/docker":                    "the engine is spoken to over its HTTP interface",
	"github.com/rogpeppe/go-internal/testscript":  "a test library",
	module + "/packages/apk/apktest":              "a test library",
	module + "/sign/evidence/evidencetest":        "a test library",
	module + "/assemble/subject/subjecttest":      "a test library",
	module + "/sign/cosign/cosigntest":            "a test library",
	"github.com/sigstore/sigstore-go/pkg/testing": "a test library",
	"github.com/sigstore/cosign/v2/pkg/policy":    "it brings OPA, CUE and client-go",
	"github.com/sigstore/cosign/v2/pkg/signature": "it brings the cloud SDKs; keys in services are plugins",
	"k8s.io/client-go":                            "nothing here talks to a cluster",
	"github.com/hashicorp/vault":                  "key services are plugins",
	"github.com/open-policy-agent":                "policies are written in YAML and CEL",
	"cuelang.org/go":                              "policies are written in YAML and CEL",
}

func TestProgramLinksNothingForbidden(t *testing.T) {
	for _, p := range listPackages(t, "./cmd/cairn") {
		for _, dep := range p.Deps {
			for prefix, why := range forbidden {
				if dep == prefix || strings.HasPrefix(dep, prefix+"/") {
					t.Errorf("cairn links %s: %s", dep, why)
				}
			}
		}
	}
}

// maxProgram bounds the stripped program, in bytes.
const maxProgram = 60 << 20

func TestProgramIsSmall(t *testing.T) {
	if testing.Short() {
		t.Skip("links the program")
	}
	out := filepath.Join(t.TempDir(), "cairn")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "./cmd/cairn")
	cmd.Dir = ".."
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, text)
	}
	fi, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	if fi.Size() > maxProgram {
		t.Errorf("the stripped program has %d bytes, expected at most %d", fi.Size(), maxProgram)
	}
}

// onlyImporter names the one room that may import a heavy library.
var onlyImporter = map[string]string{
	"github.com/sigstore/cosign/v2":     "sign/cosign",
	"chainguard.dev/apko":               "assemble/config",
	"github.com/spdx/tools-golang":      "assemble/sbom",
	"github.com/CycloneDX/cyclonedx-go": "assemble/sbom",
	"github.com/spf13/viper":            "cmd/cairn",
	"github.com/google/cel-go":          "sign/policy",
	"github.com/prometheus":             "sign/admission",
	"mvdan.cc/sh":                       "packages/definition",
	"github.com/moby/buildkit":          "packages/build/buildkit",
	"github.com/containerd/containerd":  "packages/build/buildkit",
}

func TestHeavyLibrariesHaveOneImporter(t *testing.T) {
	for _, p := range listPackages(t, "./...") {
		room := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, imp := range p.Imports {
			for prefix, only := range onlyImporter {
				if (imp == prefix || strings.HasPrefix(imp, prefix+"/")) && room != only {
					t.Errorf("%s imports %s; only %s may", room, imp, only)
				}
			}
		}
	}
}

func TestEveryPackageIsDocumented(t *testing.T) {
	for _, p := range listPackages(t, "./...") {
		if len(p.Doc) < 30 {
			t.Errorf("%s: package comment is missing or too short: %q", p.ImportPath, p.Doc)
		}
	}
}
