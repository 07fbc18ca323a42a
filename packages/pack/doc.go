// Package pack writes APK v2 packages from trees of files: the control section
// with .PKGINFO and the scripts, the data section, the signature. It also signs
// finished packages again.
//
// It does not build, does not find out dependencies
// ([github.com/cairn-dev/cairn/packages/scan]) and does not judge what is packed
// ([github.com/cairn-dev/cairn/packages/lint]).
//
//	t, err := tree.Directory(destdir, tree.DirectoryOptions{})
//	if err != nil {
//		return err
//	}
//	defer t.Close()
//	result, err := pack.WriteFile(ctx, "hello-1.0-r0.apk", t, pack.Spec{
//		Package: apk.Package{Name: "hello", Version: "1.0-r0", Arch: "x86_64", License: "MIT", BuildTime: epoch},
//	}, pack.Options{Keys: []repository.SigningKey{key}})
//
// # Bytes
//
// The bytes are a function of the tree, the [Spec] and the keys. Members stand in
// the order of [tree.Compare], every directory has a member before what is in it,
// every time is the build time, and the compressor works in blocks of 1 MiB
// whatever the number of processors. The gzip headers hold neither name nor time.
//
// The data section is a complete tar, so that it can be an image layer byte for
// byte. Its digest as a layer is the datahash; its diff ID, the SHA-256 of the
// tar, stands in .PKGINFO as the comment "# diff_id = sha256:…", where the
// signature covers it and where no reader of packages stumbles over it
// ([DiffID]).
package pack
