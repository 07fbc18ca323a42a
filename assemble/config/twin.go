package config

import (
	"maps"
	"slices"

	"chainguard.dev/apko/pkg/build/types"
)

// OnImage returns the configuration of an image that stands on the one that c describes:
// with its repositories, keys and architectures, with these packages, and with the base
// image in the OCI layout image, whose packages are listed in apkindex. What the base
// image says of running it stays as it is. Annotations are added to it.
//
// It is for cairn twin; a configuration that is written cannot have a base image and
// annotations.
func (c *Config) OnImage(image, apkindex string, packages []string, annotations map[string]string) (*Config, error) {
	next := c.clone()
	next.ImageConfiguration = types.ImageConfiguration{Archs: slices.Clone(c.Archs), Contents: types.ImageContents{
		BuildRepositories: c.Contents.BuildRepositories, RuntimeOnlyRepositories: c.Contents.RuntimeOnlyRepositories,
		Repositories: c.Contents.Repositories, Keyring: c.Contents.Keyring, RuntimeKeyring: c.Contents.RuntimeKeyring,
		Packages: slices.Clone(packages), BaseImage: &BaseImageDescriptor{Image: image, APKIndex: apkindex}}}
	next.Files, next.Lint, next.Twin = nil, Lint{}, TwinImage{}
	next.App = nil
	next.Slices, next.sliced, next.sliceFiles, next.sliceDefs = nil, nil, nil, nil
	var r report
	r.rank(c)
	whole{Config: next, report: &r}.check()
	if err := r.err(); err != nil {
		return nil, err
	}
	next.Annotations = maps.Clone(annotations)
	return next, nil
}
