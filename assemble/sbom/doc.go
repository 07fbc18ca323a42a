// Package sbom says what is in an image: one graph of components, made from the
// planned tree, the receipts of its packages and the finished layers, and
// written as SPDX 2.3 JSON and CycloneDX 1.6 JSON.
//
// The graph is complete or it is not made: every path of the tree and every
// byte of content belongs to exactly one component, and every package is
// listed, whether or not it brings an SBOM of its own. It finds no
// vulnerabilities and reads no package data.
//
//	g, err := sbom.New(sbom.Input{Tree: tree, Image: sbom.Image{Name: "hello", Digest: digest, Layers: layers, Created: created}})
//	if err != nil {
//		return err
//	}
//	err = g.WriteSPDX(w)
//
// Documents list regular files, hard links and symbolic links one by one, with
// SHA-1 and SHA-256 (of its target path for a symbolic link, as apk does);
// directories and device nodes hold no bytes and are counted with the
// component that owns them.
//
// The same input gives the same bytes. Nothing comes from the clock: documents
// bear the image's creation time, and their namespace and serial number are
// derived from the image's digest.
package sbom
