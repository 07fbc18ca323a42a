package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/build"
	"github.com/cairn-dev/cairn/packages/definition"
	"github.com/cairn-dev/cairn/packages/distro"
	"github.com/cairn-dev/cairn/packages/tree"
	"github.com/cairn-dev/cairn/sign/attest"
	"github.com/cairn-dev/cairn/sign/keys"
	"github.com/cairn-dev/cairn/sign/proof"
	"github.com/cairn-dev/cairn/sign/provenance"
)

// provenanceSuffix follows a package's name in that of its provenance.
const provenanceSuffix = ".provenance.json"

// packageProvenance are the flags that say what is written about packages.
type packageProvenance struct {
	write   bool
	key     string
	pass    keyFlags
	builder string
}

func (p *packageProvenance) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&p.write, "provenance", false, "write what each package was made from beside it: NAME-VERSION.apk"+provenanceSuffix)
	f.StringVar(&p.key, "provenance-key", "", "sign the provenance with this private `key`, one for images: a file, env://VARIABLE or scheme://…; implies --provenance")
	p.pass.register(cmd)
	f.StringVar(&p.builder, "builder-id", "", "`URI` of who runs the build and answers for it, for the provenance (default: nobody, a local build)")
}

// record returns what writes the provenance of packages into a directory; nil when none
// is wanted.
func (p *packageProvenance) record(ctx context.Context, a *app, dir, namespace string) (func(*build.Record) error, error) {
	if !p.write && p.key == "" {
		return nil, nil
	}
	var key *keys.Key
	if p.key != "" {
		var err error
		if key, err = keys.Load(ctx, a.key(p.key), p.pass.options(a)); err != nil {
			return nil, err
		}
	}
	return func(r *build.Record) error {
		for _, made := range r.Packages {
			statement, err := provenance.Package(provenance.PackageInput{Record: r, Package: made, Namespace: namespace, Version: buildVersion(), Builder: p.builder})
			if err != nil {
				return err
			}
			if key != nil {
				if statement, err = envelope(ctx, key, statement); err != nil {
					return err
				}
			}
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return err
			}
			if err := writeFileAtomic(filepath.Join(dir, made.Name+provenanceSuffix), statement, 0o644); err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// envelope signs a statement as a DSSE envelope.
func envelope(ctx context.Context, key *keys.Key, statement []byte) ([]byte, error) {
	sig, err := key.Sign(ctx, dsse.PAE(attest.PayloadType, statement))
	if err != nil {
		return nil, err
	}
	return json.Marshal(dsse.Envelope{PayloadType: attest.PayloadType, Payload: base64.StdEncoding.EncodeToString(statement),
		Signatures: []dsse.Signature{{Sig: base64.StdEncoding.EncodeToString(sig)}}})
}

// statementOf is the statement in a file, and whether the key signed it. Without a key
// nobody did.
func statementOf(raw []byte, key crypto.PublicKey) (statement []byte, signed bool, err error) {
	var e dsse.Envelope
	if json.Unmarshal(raw, &e) != nil || e.PayloadType == "" {
		return raw, false, nil
	}
	if statement, err = e.DecodeB64Payload(); err != nil {
		return nil, false, err
	}
	if e.PayloadType != attest.PayloadType {
		return nil, false, fmt.Errorf("payload type %.100q, expected %s", e.PayloadType, attest.PayloadType)
	}
	if key == nil {
		return statement, false, nil
	}
	verifier, err := signature.LoadVerifier(key, crypto.SHA256)
	if err != nil {
		return nil, false, err
	}
	for _, s := range e.Signatures {
		sig, err := base64.StdEncoding.DecodeString(s.Sig)
		if err == nil && verifier.VerifySignature(bytes.NewReader(sig), bytes.NewReader(dsse.PAE(e.PayloadType, statement))) == nil {
			return statement, true, nil
		}
	}
	return statement, false, nil
}

// packageStatement is what is read of a statement about a package.
type packageStatement struct {
	Type    string `json:"_type"`
	Subject []struct {
		Name   string            `json:"name"`
		Digest map[string]string `json:"digest"`
	} `json:"subject"`
	PredicateType string `json:"predicateType"`
	Predicate     struct {
		BuildDefinition struct {
			BuildType          string `json:"buildType"`
			ExternalParameters struct {
				Definition, Package, Version, Architecture string
				Epoch                                      int64
				FilesBeside                                string
			} `json:"externalParameters"`
			InternalParameters struct {
				Runner string `json:"runner"`
			} `json:"internalParameters"`
			ResolvedDependencies []struct {
				Name, URI   string
				Digest      map[string]string
				Annotations map[string]string
			} `json:"resolvedDependencies"`
		} `json:"buildDefinition"`
		RunDetails struct {
			Builder struct {
				ID string `json:"id"`
			} `json:"builder"`
		} `json:"runDetails"`
	} `json:"predicate"`
}

// packageProve are the flags of package prove, and of package verify --rebuild.
type packageProve struct {
	packageBuildFlags
	provenance string
	key        string
	rebuild    string
}

func newPackageProve(a *app) *cobra.Command {
	var v packageProve
	cmd := &cobra.Command{
		Use:   "prove APK",
		Short: "Check what a package was made from, and make it again",
		Long: `Check that a package is the one that its provenance is about (APK` + provenanceSuffix + `, which
cairn package build --provenance writes), and, with --key, that the key signed that.

--rebuild FILE builds the package again from its definition, with the recorded time and
runner and from the packages of --repository-append, and compares the bytes. Where they
differ, it says which dependency is another one, or which file.

Exit code 5: something is not as it should be; 10: all fits, but nobody whom --key names
signed it.`,
		Example: "  cairn package prove --key release.pub packages/x86_64/hello-1.0-r0.apk\n  cairn package prove --rebuild hello.yaml -r https://packages.wolfi.dev/os -k wolfi-signing.rsa.pub packages/x86_64/hello-1.0-r0.apk",
		Args:    args(1, 1, "APK"),
		RunE:    func(cmd *cobra.Command, args []string) error { return v.run(cmd.Context(), a, args[0]) },
	}
	v.registerProof(cmd)
	cmd.Flags().StringSliceVarP(&v.keyring, "keyring-append", "k", nil, "`keys` to trust: files or URLs")
	return cmd
}

// registerProof adds all flags but that of keys for repositories.
func (v *packageProve) registerProof(cmd *cobra.Command) {
	v.definitionFlags.register(cmd)
	v.storeFlags.register(cmd)
	v.packageBuildFlags.keys.register(cmd)
	f := cmd.Flags()
	f.StringVar(&v.provenance, "provenance", "", "the `file` with the provenance (default: APK"+provenanceSuffix+")")
	f.StringVar(&v.key, "key", "", "public `key` that must have signed the provenance")
	setAs(f, "key", "verify-key")
	f.StringVar(&v.rebuild, "rebuild", "", "build the package again from this definition `file`, and compare")
	f.StringVar(&v.namespace, "namespace", "unknown", "`name` of the distribution in the packages' URLs, as it was built with")
	f.StringSliceVarP(&v.repositories, "repository-append", "r", nil, "`repositories` with packages for the environment")
	v.registerDaemons(f)
	f.BoolVar(&v.unsigned, "unsafe-unsigned-index", false, "accept indexes without a verified signature")
}

// errPackage: a package is not what its provenance says.
var errPackage = proof.ErrUnproved

// proved is the outcome for one package.
type proved struct {
	Package string `json:"package"`
	SHA256  string `json:"sha256"`
	Builder string `json:"builder"`
	Signed  bool   `json:"signed"`
	Rebuilt bool   `json:"rebuilt"`
	Inputs  int    `json:"inputs"`
}

func (v *packageProve) run(ctx context.Context, a *app, name string) error {
	out, err := v.prove(ctx, a, name)
	if err != nil {
		return err
	}
	if err := render(a.std.out, format(a.format), out, nil, func(w io.Writer) error {
		how := "nobody's signature was asked for"
		if out.Signed {
			how = "signed by " + v.key
		}
		fmt.Fprintf(w, "%s: sha256:%s, by %s, from %d inputs, %s\n", name, out.SHA256, out.Builder, out.Inputs, how)
		if out.Rebuilt {
			fmt.Fprintf(w, "%s: built again: the same bytes\n", name)
		}
		return nil
	}); err != nil {
		return err
	}
	if !out.Signed && !out.Rebuilt {
		return fmt.Errorf("package %s: everything fits, but %w: give --key with the key that must have signed it, or --rebuild", name, proof.ErrNotPinned)
	}
	return nil
}

// prove holds a package against its provenance, and makes it again if that is asked for.
func (v *packageProve) prove(ctx context.Context, a *app, name string) (*proved, error) {
	raw, err := os.ReadFile(a.at(name))
	if err != nil {
		return nil, err
	}
	file := v.provenance
	if file == "" {
		file = name + provenanceSuffix
	}
	text, err := os.ReadFile(a.at(file))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("package %s: provenance: %w: %w\nhint: cairn package build --provenance writes it", name, proof.ErrNoKit, err)
	}
	if err != nil {
		return nil, err
	}
	var key crypto.PublicKey
	if v.key != "" {
		if key, err = keys.LoadPublic(ctx, a.key(v.key), keys.Options{LookupEnv: os.LookupEnv}); err != nil {
			return nil, err
		}
	}
	statement, signed, err := statementOf(text, key)
	if err != nil {
		return nil, fmt.Errorf("package %s: provenance: %w: %w", name, errPackage, err)
	}
	if key != nil && !signed {
		return nil, fmt.Errorf("package %s: provenance: %w: %s did not sign it", name, errPackage, v.key)
	}
	s, err := v.check(name, raw, statement)
	if err != nil {
		return nil, err
	}
	out := &proved{name, s.Subject[0].Digest["sha256"], s.Predicate.RunDetails.Builder.ID, signed, false, len(s.Predicate.BuildDefinition.ResolvedDependencies)}
	if v.rebuild != "" {
		if err := v.again(ctx, a, name, raw, s); err != nil {
			return nil, err
		}
		out.Rebuilt = true
	}
	return out, nil
}

// check compares a package with the statement about it.
func (v *packageProve) check(name string, raw, statement []byte) (*packageStatement, error) {
	var s packageStatement
	fail := func(format string, args ...any) (*packageStatement, error) {
		return nil, fmt.Errorf("package %s: provenance: %w: %w", name, errPackage, fmt.Errorf(format, args...))
	}
	if err := json.Unmarshal(statement, &s); err != nil {
		return fail("%w", err)
	}
	sum := sha256.Sum256(raw)
	switch {
	case s.Type != attest.StatementType || s.PredicateType != "https://slsa.dev/provenance/v1":
		return fail("found a statement %.100q of %.100q, expected %s of SLSA provenance v1", s.Type, s.PredicateType, attest.StatementType)
	case s.Predicate.BuildDefinition.BuildType != provenance.PackageBuildType:
		return fail("buildType %.100q, expected %s", s.Predicate.BuildDefinition.BuildType, provenance.PackageBuildType)
	case len(s.Subject) != 1 || s.Subject[0].Digest["sha256"] != hex.EncodeToString(sum[:]):
		return fail("it is about another file than this one, which has sha256 %x", sum)
	}
	return &s, nil
}

// again builds the package once more and compares.
func (v *packageProve) again(ctx context.Context, a *app, name string, raw []byte, s *packageStatement) error {
	def := &s.Predicate.BuildDefinition
	v.arch = def.ExternalParameters.Architecture
	o, co, err := v.definitionFlags.read(a, v.arch)
	if err != nil {
		return err
	}
	builds, err := definition.LoadAll(ctx, []string{a.at(v.rebuild)}, o, co)
	if err != nil {
		return err
	}
	if len(builds) != 1 {
		return fmt.Errorf("%s: not for %s: %w", v.rebuild, v.arch, definition.ErrArch)
	}
	dir, err := os.MkdirTemp("", "cairn-verify-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ws, err := v.storeFlags.open(a, func(packages.Event) {})
	if err != nil {
		return err
	}
	defer ws.Close()
	v.runner, v.buildDate = def.InternalParameters.Runner, ""
	b, repositories, err := v.builder(ctx, a, ws, co.Arch, builds)
	defer v.close()
	if err != nil {
		return err
	}
	b.Epoch = unixTime(def.ExternalParameters.Epoch)
	var record *build.Record
	b.Record = func(r *build.Record) error { record = r; return nil }
	report, err := distro.Run(ctx, builds, build.New(*b), distro.Options{Dir: dir, Arch: co.Arch, Repositories: repositories, Keys: b.Keys})
	if err != nil {
		if report != nil {
			for _, r := range report.Builds {
				err = errors.Join(err, r.Err)
			}
		}
		return err
	}
	made := filepath.Join(dir, co.Arch, filepath.Base(name))
	again, err := os.ReadFile(made)
	if err != nil {
		return fmt.Errorf("package %s: %w: the definition makes no package of that name", name, errPackage)
	}
	if bytes.Equal(again, raw) {
		return nil
	}
	return fmt.Errorf("package %s: %w: built again it is another file:\n%s", name, errPackage, strings.Join(v.why(ctx, a, name, made, s, record), "\n"))
}

// why says what is different: inputs, then files.
func (v *packageProve) why(ctx context.Context, a *app, name, made string, s *packageStatement, r *build.Record) (out []string) {
	now := map[string]string{filepath.Base(r.Build.File): r.Build.SHA256}
	for i := range r.Environment {
		now[r.Environment[i].ID()] = r.SHA256[i].Hex()
	}
	for _, p := range r.Build.Pipelines {
		now[p.Name] = p.SHA256
	}
	for _, d := range s.Predicate.BuildDefinition.ResolvedDependencies {
		if d.Name == "" || d.Annotations["kind"] == "source" {
			continue
		}
		switch found, ok := now[d.Name]; {
		case !ok:
			out = append(out, fmt.Sprintf("%s %s: recorded, and not used now", d.Annotations["kind"], d.Name))
		case found != d.Digest["sha256"]:
			out = append(out, fmt.Sprintf("%s %s: sha256 %s, recorded %s", d.Annotations["kind"], d.Name, found, d.Digest["sha256"]))
		}
	}
	if len(out) > 0 {
		return out
	}
	was, err := tree.OpenPackage(ctx, a.at(name), tree.PackageOptions{})
	if err != nil {
		return []string{err.Error()}
	}
	defer was.Close()
	is, err := tree.OpenPackage(ctx, made, tree.PackageOptions{})
	if err != nil {
		return []string{err.Error()}
	}
	defer is.Close()
	have := map[string]apk.Entry{}
	for _, e := range was.Entries() {
		have[e.Path] = e
	}
	for _, e := range is.Entries() {
		old, ok := have[e.Path]
		delete(have, e.Path)
		switch {
		case !ok:
			out = append(out, e.Path+": not in the package")
		case old.SHA256 != e.SHA256 || old.Size != e.Size:
			out = append(out, fmt.Sprintf("%s: content: %d bytes with sha256 %s, built again %d with %s", e.Path, old.Size, old.SHA256.Hex(), e.Size, e.SHA256.Hex()))
		case old.Mode != e.Mode || old.UID != e.UID || old.GID != e.GID || old.Type != e.Type || old.Link != e.Link:
			out = append(out, fmt.Sprintf("%s: mode %04o, owner %d:%d, built again %04o, %d:%d", e.Path, old.Mode, old.UID, old.GID, e.Mode, e.UID, e.GID))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(have)) {
		out = append(out, path+": only in the package")
	}
	if len(out) == 0 {
		out = []string{"its files are the same: the control section or the signatures differ\nhint: --signing-key signs as the package was signed"}
	}
	if len(out) > 20 {
		out = append(out[:20], fmt.Sprintf("and %d more", len(out)-20))
	}
	return out
}
