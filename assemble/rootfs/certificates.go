package rootfs

import (
	"fmt"
	"path"
	"slices"
	"time"

	"github.com/cairn-dev/cairn/assemble/generate/certs"
	"github.com/cairn-dev/cairn/packages/apk"
)

// certificates makes a bundle where the image has certificates and none, and
// adds the configuration's certificates.
func (b *builder) certificates() error {
	made, err := b.makeTrustStore()
	if err == nil {
		err = b.makeJavaStore()
	}
	if err != nil {
		return fmt.Errorf("%s: %w", generatorCerts, err)
	}
	if err := b.addCertificates(); err != nil || made == nil {
		return err
	}
	if err := made.links(); err != nil {
		return fmt.Errorf("%s: %w", generatorCerts, err)
	}
	return nil
}

// addCertificates adds the configuration's certificates, and those of the
// packages it names as providers, to the bundles and truststores of the image.
func (b *builder) addCertificates() error {
	if b.cfg.Certificates == nil {
		return nil
	}
	in := certs.Input{Created: b.in.Created}
	if b.compat() {
		in.Created = time.Unix(b.apkoBuilt(), 0).UTC()
	}
	var from []string
	for i, a := range b.cfg.Certificates.Additional {
		in.Additional = append(in.Additional, certs.Named{Name: a.Name, PEM: []byte(a.Content)})
		from = append(from, additionalKey(i))
	}
	providers, err := b.providedCertificates(&in)
	if err != nil {
		return &ConfigError{generatorCertsKey, err}
	}
	from = append(from, providers...)
	if len(in.Additional)+len(in.Provided) == 0 {
		return nil
	}
	stores := map[string]*node{}
	if in.Bundles, err = b.stores(certs.BundlePaths(), stores); err == nil {
		in.Truststores, err = b.stores(certs.TruststorePaths(), stores)
	}
	if err != nil {
		return &ConfigError{generatorCertsKey, err}
	}
	files, err := certs.Update(in)
	if err != nil {
		return &ConfigError{generatorCertsKey, err}
	}
	return b.storeCertificates(files, stores, from)
}

func additionalKey(i int) string { return fmt.Sprintf("%s.additional[%d]", generatorCertsKey, i) }

// storeCertificates writes what certs.Update returned: a new file for each
// additional certificate, in their order, then changed stores.
func (b *builder) storeCertificates(files []certs.File, stores map[string]*node, from []string) error {
	for i, f := range files {
		if n := stores[f.Path]; n != nil {
			b.rewrite(n, f.Content, Owner{OwnedByGenerator, generatorCerts}, from...)
			continue
		}
		if err := b.configFile(f.Path, additionalKey(i), f.Mode, f.Content, 0, 0); err != nil {
			return &ConfigError{additionalKey(i), err}
		}
	}
	return nil
}

// providedCertificates collects the certificate files of packages that provide
// one of the configuration's providers, and returns those packages' names.
func (b *builder) providedCertificates(in *certs.Input) ([]string, error) {
	var names []string
	for p := range b.in.Packages {
		r := b.in.Packages[p].Receipt
		if !b.isProvider(&r.Package) {
			continue
		}
		for m := range r.Entries {
			e := &r.Entries[m]
			if !b.kept[p][m] || e.Type == apk.TypeDir || !certs.IsProvided(e.Path) {
				continue
			}
			content, _, err := b.readAt(e.Path)
			if err != nil {
				return nil, err
			}
			in.Provided = append(in.Provided, certs.File{Path: e.Path, Content: content})
			if !slices.Contains(names, r.Package.Name) {
				names = append(names, r.Package.Name)
			}
		}
	}
	return names, nil
}

func (b *builder) isProvider(p *apk.Package) bool {
	wanted := b.cfg.Certificates.Providers
	return slices.Contains(wanted, p.Name) ||
		slices.ContainsFunc(p.Provides, func(d apk.Dependency) bool { return slices.Contains(wanted, d.Name) })
}

// stores reads those of the files that the image has.
func (b *builder) stores(paths []string, found map[string]*node) ([]certs.File, error) {
	var out []certs.File
	for _, p := range paths {
		content, n, err := b.readAt(p)
		if err != nil {
			return nil, err
		}
		if n != nil {
			found[p] = n
			out = append(out, certs.File{Path: p, Content: content})
		}
	}
	return out, nil
}

// certificateSums writes a checksum beside each certificate store (".NAME.sha256",
// in the form of sha256sum), so that a later change can be noticed.
func (b *builder) certificateSums() error {
	for _, p := range slices.Concat(certs.BundlePaths(), certs.TruststorePaths()) {
		at, err := b.lookup(p, true)
		if err != nil || at.node == nil || at.node.ino.typ != apk.TypeFile || b.unchanged(at.node.ino) {
			continue
		}
		dir, base := path.Split(p)
		line := fmt.Sprintf("%s  %s\n", b.digest(at.node.ino).Hex(), base)
		if _, err := b.generate(dir+"."+base+".sha256", 0o444, []byte(line), Owner{OwnedByGenerator, generatorCerts}); err != nil {
			return fmt.Errorf("checksum of /%s: %w", p, err)
		}
	}
	return nil
}
