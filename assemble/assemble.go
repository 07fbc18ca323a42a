// Package assemble is the façade of everything about images: it turns a
// configuration into a lock, and a configuration and its lock into a
// reproducible OCI image with SBOMs.
//
// It does not sign and does not push. The rooms below it (config, rootfs,
// layer, image, sbom, generate) are visible to the rest of cairn but promise no
// compatibility; this package does.
//
//	cfg, err := config.Load("image.yaml", config.Options{})
//	if err != nil {
//		return err
//	}
//	ws, err := packages.Open(packages.Options{})
//	if err != nil {
//		return err
//	}
//	defer ws.Close()
//	res, err := assemble.Build(ctx, ws, cfg, assemble.Options{
//		Tags:    []string{"hello:latest"},
//		Outputs: []string{"hello.tar"},
//	})
//	if err != nil {
//		return err
//	}
//	fmt.Println(res.Digest)
package assemble

import (
	"context"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/baseimage"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/store"
)

// Options says what to build and where to put it.
type Options struct {
	// Lock pins the packages. Nil: the configuration is resolved now.
	Lock *lock.Lock
	// Tags are the references the image gets, for outputs that hold any.
	Tags []string
	// Outputs are written, each complete or not at all: "dir/", "x.tar",
	// "oci-archive:x.tar", "docker://". See [image.ParseOutput].
	Outputs []string
	// SBOMDir is the directory SBOMs are written to; empty: none are. That all
	// content has an owner is checked in either case.
	SBOMDir string
	// SBOMFormats are the formats of SBOMs, "spdx" and "cyclonedx"; none means
	// both.
	SBOMFormats []string
	// Dir is the directory that relative paths of Outputs are relative to.
	// Empty: the working directory.
	Dir string
	// Created is the creation time. Zero: the newest build time of the
	// packages.
	Created time.Time
	// Bases are the base images by architecture (apk's spelling), in place of those
	// that the configuration names: where they come with a rebuild kit.
	Bases map[string]*baseimage.Base
	// PackageFile, where it is set, gives package files before their repositories are
	// asked, such as a mirror's; [store.ErrNotFound] is for those that it has not. Only
	// a given lock's packages are looked for.
	PackageFile func(ctx context.Context, p *lock.Package) (io.ReadCloser, error)
	// Weights are observed update rates by origin, for the layer plan.
	Weights map[string]float64
	// Compat is "apko" for apko's single-layer output, else empty.
	Compat string
	Unsafe Unsafe
	// Kit makes the rebuild kit of the image and writes it beside the image into
	// those outputs that can hold it: layouts and OCI archives.
	Kit bool
	// Version of the program, for the SBOMs.
	Version string
	// Author of the image, and creator of its SBOMs beside the tool; optional.
	Author string
	// Progress is told when a stage begins. Optional.
	Progress func(stage string)
}

// Unsafe switches checks off. What was switched off is recorded in the lock and
// in the image.
type Unsafe struct {
	// UnsignedIndex accepts indexes without a verified signature.
	UnsignedIndex bool
	// MissingDataHash accepts packages whose control section names no hash of
	// the data section.
	MissingDataHash bool
	// PackageSignature does not check the packages' own signatures.
	PackageSignature bool
	// BrokenSBOM skips embedded SBOMs that cannot be read.
	BrokenSBOM bool
}

// Result is what [Build] made.
type Result struct {
	// Digest is that of the image index.
	Digest v1.Hash `json:"digest"`
	// Index is the image index itself.
	Index *image.Index `json:"-"`
	// Lock is the lock the image was built from.
	Lock *lock.Lock `json:"-"`
	// Packages are those of all architectures, in the order of the lock's.
	Packages []Package `json:"-"`
	// Kit is the rebuild kit, when it was asked for.
	Kit *kit.Kit `json:"-"`
	// KitDigest is that of the kit's manifest.
	KitDigest string        `json:"kit,omitempty"`
	Images    []ImageResult `json:"images"`
	Outputs   []string      `json:"outputs"`
	SBOMs     []string      `json:"sboms"`
	Unsafe    []string      `json:"unsafe,omitempty"`
	// Warnings are what is allowed and rarely meant, each once.
	Warnings []string  `json:"warnings,omitempty"`
	Created  time.Time `json:"created"`
	Stages   []Stage   `json:"stages"`

	jobs []*job
}

// Package is a package that an image was made from.
type Package struct {
	Arch    string // apk's spelling
	Receipt *store.Receipt
	// PURL is its package URL, as the SBOMs have it.
	PURL string
}

// ImageResult is the image of one architecture.
type ImageResult struct {
	Arch     string         `json:"arch"` // OCI's spelling
	Digest   v1.Hash        `json:"digest"`
	Size     int64          `json:"size"`     // of all layers, compressed, bytes
	Inflated int64          `json:"inflated"` // of all layers, bytes
	Packages int            `json:"packages"` // without those of a base image
	Files    int            `json:"files"`
	Layers   []layer.Layer  `json:"-"`
	Kinds    map[string]int `json:"layers"` // number of layers by kind
	// Reused is how many bytes of the layers were taken as they stand in the
	// store or the base image.
	Reused int64 `json:"reused"`
}

// Stage is how long a stage took. It is for people: nothing of it reaches an
// output.
type Stage struct {
	Name    string        `json:"name"`
	Elapsed time.Duration `json:"elapsed_ns"`
}

// LockOptions says how to lock.
type LockOptions struct {
	// Previous is the lock to stay close to; see [packages.Request].
	Previous      *lock.Lock
	Update        []string
	UpdateAll     bool
	AllowRollback bool
	Unsafe        Unsafe
}

// packages are the switches that concern packages.
func (u Unsafe) packages() packages.Unsafe {
	return packages.Unsafe{UnsignedIndex: u.UnsignedIndex, MissingDataHash: u.MissingDataHash, PackageSignature: u.PackageSignature}
}
