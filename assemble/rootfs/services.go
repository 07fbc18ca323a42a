package rootfs

import (
	"maps"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// services writes the supervision tree of a service bundle, /sv/NAME/run, for
// s6-svscan.
func (b *builder) services() error {
	owner := Owner{OwnedByConfig, generatorServices}
	for _, name := range slices.Sorted(maps.Keys(b.cfg.Entrypoint.Services)) {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\x00") {
			return configErrorf(generatorServices, "name %q: expected a file name", name)
		}
		for _, dir := range []string{"sv", "sv/" + name} {
			if err := b.ownDirectory(dir, owner); err != nil {
				return &ConfigError{generatorServices, err}
			}
		}
		script := "#!/bin/execlineb\n" + b.cfg.Entrypoint.Services[name] + "\n"
		if err := b.configFile("sv/"+name+"/run", generatorServices, 0o755, []byte(script), 0, 0); err != nil {
			return &ConfigError{generatorServices, err}
		}
	}
	return nil
}

// ownDirectory makes the directory p (0755) if it is missing, for owner.
func (b *builder) ownDirectory(p string, owner Owner) error {
	at, err := b.lookup(p, true)
	if err != nil {
		return err
	}
	if at.node == nil {
		n, err := b.mkdirAll(p)
		if err != nil {
			return err
		}
		n.ino.owner = owner
		if b.compat() && owner.Name == generatorServices {
			n.ino.mode = 0o777
		}
		return nil
	}
	if !at.node.isDir() || at.node.ino.typ != apk.TypeDir {
		return errNotDir
	}
	return nil
}
