package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/advisory"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/quickview"
	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/assemble/vex"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/sign"
	"github.com/cairn-dev/cairn/sign/verify"
)

// quickviewFlags are the flags of quickview beside those of its input.
type quickviewFlags struct {
	inputFlags
	registryFlags
	feeds   feedFlags
	base    string
	refresh bool
	files   bool
	distro  string
	sarif   string
	attests verifyFlags // whose VEX documents count
}

func newQuickview(a *app) *cobra.Command {
	var q quickviewFlags
	cmd := &cobra.Command{
		Use:   "quickview IMAGE|SBOM|LOCK",
		Short: "Show what is known of the vulnerabilities in an image",
		Long: `Show what advisory feeds say of the packages of an image, beside its base image and
beside the same packages as they would be today: how many vulnerabilities are
critical, high, medium, low, and of no known severity.

IMAGE is in a registry, in an OCI layout (DIR/), or in an archive; SBOM is an SPDX 2 or
CycloneDX document in JSON; LOCK is a lock, of which nothing need be built yet.

A package is looked up by its name and by its origin, versions compare as apk's do,
and fixes for another architecture do not count. Software that belongs to a package is
judged by the package's advisories. What a VEX document excuses is listed, and does
not count.

The last lines say what was looked at and what was not. Exit code 11: something was
found; 12: nothing was, but not everything could be looked at; 0: everything was, and
nothing was found. docs/quickview.md says more.`,
		Example: "  cairn quickview --feed wolfi.zip registry.example/team/app:1\n" +
			"  cairn quickview --feed wolfi.zip --vex app.vex.json --refresh image.lock.json\n  cairn quickview --feed alpine-main.json --format json sbom-x86_64.spdx.json",
		Args: args(1, 1, "IMAGE, SBOM or LOCK"),
		RunE: func(cmd *cobra.Command, args []string) error { return q.run(cmd.Context(), a, args[0]) },
	}
	q.inputFlags.register(cmd)
	q.registryFlags.register(cmd)
	q.feeds.register(cmd)
	f := cmd.Flags()
	f.StringVar(&q.base, "base", "", "the base `image`, to be shown beside (default: the one that the image names)")
	f.BoolVar(&q.refresh, "refresh", false, "show a lock's request resolved anew, from the configuration beside it")
	f.BoolVar(&q.files, "files", false, "read every layer, to count the files that are no package's")
	f.StringVar(&q.distro, "distro", "", "the `distribution` of the packages, as feeds name it: wolfi, chainguard, alpine:v3.22 (default: what the image, the SBOM or the repositories say)")
	f.StringArrayVar(&q.attests.keys, "vex-key", nil, "public key `file`: OpenVEX documents that it attested to the image count; may be repeated")
	f.StringArrayVar(&q.attests.identities, "vex-identity", nil, "`subject` of certificates whose attested OpenVEX documents count, exact; may be repeated")
	f.StringVar(&q.attests.issuer, "vex-issuer", "", "OpenID Connect `issuer` of these subjects, exact")
	f.StringVar(&q.attests.trustedRoot, "trusted-root", "", "trusted_root.json `file` with the authorities and logs to trust, for --vex-identity")
	f.StringVar(&q.sarif, "sarif", "", "write the findings in SARIF 2.1.0 to this `file`, too")
	return cmd
}

func (q *quickviewFlags) run(ctx context.Context, a *app, name string) error {
	if len(q.feeds.feeds) == 0 {
		return usageError{errors.New("--feed: missing: nothing is known without a feed\nhint: cairn feed fetch URL --out FILE fetches one")}
	}
	asOf, err := q.feeds.parseAsOf()
	if err != nil {
		return err
	}
	if len(q.archs) > 1 {
		return usageError{fmt.Errorf("--arch: found %s, expected one architecture", strings.Join(q.archs, ","))}
	}
	p := newProgress(a)
	defer p.stop()
	ws, err := q.inputFlags.open(a, p.event)
	if err != nil {
		return err
	}
	defer ws.Close()
	feeds, err := q.feeds.open(ctx, a, ws.Store(), q.offline)
	if err != nil {
		return err
	}
	o := advisory.Options{AsOf: asOf}
	if o.VEX, err = readVEX(a, q.feeds.vex); err != nil {
		return err
	}
	side, err := q.side(ctx, a, name)
	if err != nil {
		return err
	}
	defer side.close()
	o.Image = side.image
	attested, err := q.attestedVEX(ctx, a, side)
	if err != nil {
		return err
	}
	o.VEX = append(o.VEX, attested...)
	view := quickview.New(side.inventory, feeds, o)
	q.addBase(ctx, a, view, side, feeds, o)
	if err := q.addRefreshed(ctx, a, ws, view, side, name, feeds, o); err != nil {
		return err
	}
	p.stop()
	if q.sarif != "" {
		var b bytes.Buffer
		if err := view.WriteSARIF(&b, buildVersion()); err != nil {
			return err
		}
		if err := writeFileAtomic(a.at(q.sarif), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if err := render(a.std.out, format(a.format), view, nil, view.WriteText); err != nil {
		return err
	}
	switch view.Status {
	case advisory.Found:
		return verdict{exitFindings, "vulnerabilities were found"}
	case advisory.Inconclusive:
		return verdict{exitIncomplete, "not everything was looked at"}
	}
	return nil
}

// readVEX reads the documents that were named.
func readVEX(a *app, names []string) (vex.Statements, error) {
	var out vex.Statements
	for _, name := range names {
		raw, err := os.ReadFile(a.at(name))
		if err != nil {
			return nil, err
		}
		list, err := vex.Read(raw)
		if err != nil {
			return nil, usageError{fmt.Errorf("--vex: %s: %w", name, err)}
		}
		out = append(out, list...)
	}
	return out, nil
}

// attestedVEX reads the documents that are attested to the image by those whose word
// counts. What others attested is said not to have been looked at.
func (q *quickviewFlags) attestedVEX(ctx context.Context, a *app, side *viewSide) (vex.Statements, error) {
	if len(q.attests.keys)+len(q.attests.identities) == 0 {
		if q.attests.issuer != "" || q.attests.trustedRoot != "" {
			return nil, usageError{errors.New("--vex-identity: missing: an issuer or a trusted root is for that")}
		}
		return nil, nil
	}
	if side.img == nil || side.subject.Target() == nil {
		return nil, usageError{errors.New("--vex-key, --vex-identity: found no image in a registry or a layout, to which something may be attested")}
	}
	q.attests.threshold = 1
	entry, err := q.attests.entry(a)
	if err != nil {
		return nil, err
	}
	list, rejected, err := sign.AttestedBy(ctx, side.subject.Target(), side.image.Digests, verify.PredicateOpenVEX, entry)
	if err != nil {
		return nil, err
	}
	var out vex.Statements
	for _, at := range list {
		statements, err := vex.Read(at.Predicate)
		if err != nil {
			rejected = append(rejected, fmt.Sprintf("%s: %v", at.Where, err))
			continue
		}
		for i := range statements {
			statements[i].Author += ", attested by " + at.Signer
		}
		out = append(out, statements...)
	}
	for _, r := range rejected {
		side.inventory.NotLookedAt = append(side.inventory.NotLookedAt, "attested OpenVEX document that does not count: "+r)
	}
	return out, nil
}

// viewSide is what is looked at.
type viewSide struct {
	inventory *quickview.Inventory
	subject   *subject.Subject // nil for an SBOM
	img       *subject.Image   // nil for an SBOM or a lock
	arch      string           // apk's spelling
	image     vex.Image
}

func (v *viewSide) close() {
	if v.subject != nil {
		v.subject.Close()
	}
}

// side opens what a name stands for.
func (q *quickviewFlags) side(ctx context.Context, a *app, name string) (*viewSide, error) {
	o := quickview.Options{Files: q.files, Distro: q.distro}
	if filepath.Ext(name) == ".json" {
		raw, err := os.ReadFile(a.at(name))
		if err != nil {
			return nil, err
		}
		if inv, err := quickview.OfSBOM(name, raw, o); err == nil {
			return &viewSide{inventory: inv}, nil
		} else if _, lockErr := lock.Parse(raw); lockErr != nil && !bytes.Contains(raw, []byte(`"contents"`)) {
			return nil, err
		}
	}
	so := q.subject(a)
	if kind, _ := subject.Local(a.workdir, name); kind == subject.Registry && q.offline {
		return nil, fmt.Errorf("%s: %w", name, repository.ErrOffline)
	}
	s, err := subject.Open(ctx, name, so)
	if err != nil {
		return nil, err
	}
	v := &viewSide{subject: s}
	if s.Lock != nil {
		if v.arch, err = q.lockArch(s.Lock); err == nil {
			v.inventory = quickview.OfLock(name, s.Lock, v.arch, o)
			return v, nil
		}
	} else {
		var images []*subject.Image
		if images, err = platformsOf(s, q.archs); err == nil {
			v.img = images[0]
			v.image.Digests = []v1.Hash{s.Descriptor.Digest, v.img.Digest}
			if t := s.Target(); t != nil {
				v.image.Repository = t.Repository()
			}
			v.inventory, err = quickview.OfImage(ctx, name, v.img, o)
		}
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return v, nil
}

// lockArch chooses the architecture of a lock, in apk's spelling.
func (q *quickviewFlags) lockArch(l *lock.Lock) (string, error) {
	have := l.Architectures()
	want := runtime.GOARCH
	if len(q.archs) > 0 {
		want = q.archs[0]
	}
	arch, ok := config.ParseArch(want)
	switch {
	case ok && slices.Contains(have, arch.APK):
		return arch.APK, nil
	case len(q.archs) == 0 && len(have) == 1:
		return have[0], nil
	}
	return "", usageError{fmt.Errorf("--arch: found %s, expected one of %s", want, strings.Join(have, ", "))}
}

// addBase adds the base image's row, or why it is not known.
func (q *quickviewFlags) addBase(ctx context.Context, a *app, view *quickview.View, side *viewSide, feeds advisory.Feeds, o advisory.Options) {
	if side.img == nil {
		view.Without("Base", "only an image says what it stands on")
		return
	}
	name := q.base
	if name == "" {
		annotations := side.subject.Annotations
		if m := side.img.Manifest; m != nil && m.Annotations["org.opencontainers.image.base.name"] != "" {
			annotations = m.Annotations
		}
		name = annotations["org.opencontainers.image.base.name"]
		if d := annotations["org.opencontainers.image.base.digest"]; name != "" && d != "" {
			repository, _, _ := strings.Cut(name, "@")
			if i := strings.LastIndexByte(repository, ':'); i > strings.LastIndexByte(repository, '/') {
				repository = repository[:i]
			}
			name = repository + "@" + d
		}
	}
	if name == "" {
		view.Without("Base", "the image names none")
		return
	}
	base := *q
	base.archs = []string{side.img.PlatformText()}
	b, err := base.side(ctx, a, name)
	if err != nil {
		view.Without("Base", fmt.Sprintf("%s: %v", name, err))
		return
	}
	defer b.close()
	if b.img == nil || !quickview.OnBase(side.inventory, b.inventory) {
		view.Without("Base", name+": the image does not stand on its layers")
		return
	}
	view.Add("Base", b.inventory, feeds, o)
}

// addRefreshed adds the row of a lock's request resolved anew.
func (q *quickviewFlags) addRefreshed(ctx context.Context, a *app, ws *packages.Workspace, view *quickview.View, side *viewSide, name string, feeds advisory.Feeds, o advisory.Options) error {
	switch {
	case side.subject == nil || side.subject.Lock == nil:
		view.Without("Refreshed", "only a lock can be resolved anew")
		return nil
	case !q.refresh:
		view.Without("Refreshed", "--refresh was not given")
		return nil
	}
	path, err := q.locked(a, name)
	if err != nil {
		return err
	}
	cfg, err := q.load(a, path)
	if err != nil {
		return err
	}
	l, err := assemble.Lock(ctx, ws, cfg, assemble.LockOptions{Previous: side.subject.Lock, UpdateAll: true, Unsafe: q.off})
	if err != nil {
		view.Without("Refreshed", err.Error())
		return nil
	}
	view.Add("Refreshed", quickview.OfLock(path, l, side.arch, quickview.Options{Distro: q.distro}), feeds, o)
	return nil
}
