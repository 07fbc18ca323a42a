// Package config reads an image configuration: apko's YAML, every key with
// apko's meaning, and cairn's own keys beside them. A configuration is read,
// merged with what it includes, and validated as a whole, with the position of
// every problem, before anything else happens.
//
// It fetches nothing and resolves nothing; values come out as they were
// written, with apko's defaults filled in.
//
//	cfg, err := config.Load("image.yaml", config.Options{})
//	if err != nil {
//		return err // a *config.Errors listing every problem as file:line:column
//	}
package config

import (
	"chainguard.dev/apko/pkg/build/types"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Config is a validated image configuration with its includes merged in.
type Config struct {
	// ImageConfiguration is apko's; its keys and their meaning are kept.
	types.ImageConfiguration `yaml:",inline"`

	// Files are files to put into the image, each its own component in lock
	// and SBOM. They are applied after packages and before Paths.
	Files []File `yaml:"files,omitempty" json:"files,omitempty"`

	// Sources are the files read to make this configuration, the including
	// one first.
	Sources []Source `yaml:"-" json:"-"`
}

// File is one entry of the files key.
type File struct {
	// Path is the absolute path in the image.
	Path string `yaml:"path" json:"path"`
	// Content is the file's content, inline. Exactly one of Content and Source
	// is given.
	Content *string `yaml:"content,omitempty" json:"content,omitempty"`
	// Source is a local file, relative to the configuration that names it.
	Source string `yaml:"source,omitempty" json:"source,omitempty"`
	// SHA256 is the digest that Source must have, 64 hexadecimal digits;
	// required with Source.
	SHA256 string `yaml:"sha256,omitempty" json:"sha256,omitempty"`
	// Mode is the permission, setuid, setgid and sticky bits, octal. Default 0644.
	Mode *uint32 `yaml:"mode,omitempty" json:"mode,omitempty"`
	// UID and GID own the file. Default 0.
	UID uint32 `yaml:"uid,omitempty" json:"uid,omitempty"`
	GID uint32 `yaml:"gid,omitempty" json:"gid,omitempty"`

	// Bytes is the content, inline or read from Source and checked.
	Bytes []byte `yaml:"-" json:"-"`
}

// Source is a file that a configuration was made from.
type Source struct {
	Path   string // as opened
	SHA256 apk.SHA256
	Size   int64
}
