// Package repository reads and writes package repositories: it finds an index
// (over HTTP, in a local directory, or built in), verifies its signature with
// the keys of that repository, answers questions about it, and opens the
// packages it lists.
//
// It decides no trust beyond "which key signed these bytes": which keys count
// for a repository is said by the caller, per repository, in a [Keyring]. It
// does not choose packages (that is
// [github.com/cairn-dev/cairn/packages/solve]) and does not look inside them or
// keep them (that is [github.com/cairn-dev/cairn/packages/store]).
//
//	client, err := repository.NewClient(repository.Options{CacheDir: dir})
//	if err != nil {
//		return err
//	}
//	src, err := repository.ParseSource("https://dl-cdn.alpinelinux.org/alpine/v3.19/main", "x86_64")
//	if err != nil {
//		return err
//	}
//	if src.Keyring, err = client.Keys(ctx, []string{"/etc/apk/keys/me.rsa.pub"}); err != nil {
//		return err
//	}
//	src.Discover = true // Alpine's keys, if mine did not sign it
//	ix, err := client.Load(ctx, src)
//	if err != nil {
//		return err
//	}
//	fmt.Println(ix.Len(), ix.SignedBy.Name)
//
// # Cache
//
// With a cache directory, the bytes of every index and key that came over HTTP
// are kept, and each index is kept a second time in a parsed, compact form
// (see [FormatVersion]). What is read back is treated like what comes from the
// network: the bytes must have the recorded SHA-256, and the signature is
// verified again. The parsed form is bound to the SHA-256 of the index it was
// made from and carries a seal over all its bytes; with [Options.CacheSecret]
// the seal is keyed, so that a cache directory that someone else could write to
// cannot supply forged entries.
//
// No secret ever appears in a message: URLs are printed without user
// information and query ([Redact]).
package repository
