package rootfs

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/cairn-dev/cairn/packages/apk"
)

// devices makes the device nodes that apko's images have. Container runtimes
// mount their own /dev over them, and unpacking them takes privileges, so that
// they are made only where apko's tree is wanted.
func (b *builder) devices() error {
	if !b.compat() {
		return nil
	}
	for _, d := range []struct {
		name         string
		mode         uint32
		major, minor int64
	}{
		{"console", 0o620, 5, 1}, {"null", 0o666, 1, 3}, {"random", 0o666, 1, 8}, {"urandom", 0o666, 1, 9}, {"zero", 0o666, 1, 5},
	} {
		at, err := b.parentOf("dev/" + d.name)
		if err != nil {
			return fmt.Errorf("device /dev/%s: %w", d.name, err)
		}
		if at.node != nil {
			continue
		}
		ino := b.newInode(apk.TypeChar, d.mode, Owner{OwnedByGenerator, generatorDevices})
		ino.major, ino.minor = d.major, d.minor
		b.attach(at.dir, at.name, ino, -1, -1)
	}
	return nil
}

// apkoConfig writes /etc/apko.json, the configuration with its packages
// pinned, where apko's tree is wanted.
func (b *builder) apkoConfig() error {
	if !b.compat() {
		return nil
	}
	cfg := b.cfg.ImageConfiguration
	cfg.Contents.Packages = b.pinned()
	var out bytes.Buffer
	if err := json.NewEncoder(&out).Encode(cfg); err != nil {
		return fmt.Errorf("/etc/apko.json: %w", err)
	}
	_, err := b.generate("etc/apko.json", 0o444, out.Bytes(), Owner{OwnedByGenerator, generatorApko})
	return err
}
