// Package apk knows the APK v2 formats: versions, dependencies, package
// metadata (.PKGINFO and index entries), the three gzip members of a package
// file, and the installed database.
//
// It is formats only. It opens no network connection, keeps no state, and
// decides nothing: whether a package is trusted is the business of
// [github.com/cairn-dev/cairn/packages/repository] and
// [github.com/cairn-dev/cairn/packages/store], which package is chosen that of
// [github.com/cairn-dev/cairn/packages/solve].
//
//	d, err := apk.ParseDependency("openssl>=3.1")
//	if err != nil {
//		return err
//	}
//	fmt.Println(d.Matches("3.1.4-r5")) // true
//
// The source of the formats is the behaviour of apk-tools 2.14 (apk-package(5),
// apk-world(5)); where a function follows a quirk of it, its comment says so.
package apk
