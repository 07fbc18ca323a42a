// Package image puts finished layers into OCI images and image indexes, and
// puts those where the user wants them: an OCI layout directory, an OCI
// archive, a docker archive, or a container engine. It also opens such outputs
// again, to look at what is in them.
//
// It does not make layers ([github.com/cairn-dev/cairn/assemble/layer] does)
// and talks to no registry.
//
//	img, err := image.New(image.Input{Layers: layers, Settings: settings, Arch: "amd64", Created: created})
//	if err != nil {
//		return err
//	}
//	out, err := image.ParseOutput("hello.tar")
//	if err != nil {
//		return err
//	}
//	written, err := image.Write(ctx, out, img, image.WriteOptions{Tags: tags})
//
// Manifests and configurations follow the OCI image specification 1.1; all
// media types are OCI's. The same input gives the same bytes: no clock, no map
// order, no environment reaches an output. An output appears whole or not at
// all, with modes that do not depend on the umask.
package image
