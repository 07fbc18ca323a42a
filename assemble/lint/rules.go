package lint

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/cairn-dev/cairn/assemble/files"
	"github.com/cairn-dev/cairn/packages/apk"
)

// rules are all rules; docs/lint.md describes each, and a test compares.
func rules() []Rule {
	return []Rule{
		{"ca-bundle", Warning, "programs that link a TLS library in an image without certificate authorities",
			"they can verify no server, and are then often told not to verify any", caBundle},
		{"interpreter-version", Error, "Python packages that belong to another version than the interpreter that is there",
			"Python looks for packages in directories of its own minor version, and loads extension modules made for it only", interpreterVersion},
		{"mutable-reference", Warning, "a base image that nothing pins by digest, and annotations that name one by tag only",
			"the same name gives another image tomorrow", mutableReference},
		{"root-user", Warning, "an image whose processes run as root",
			"whoever breaks out of the program owns the container, and a mount or kernel bug is worth more to them", rootUser},
		{"secret", Error, "private keys, access keys and tokens in files and in the environment",
			"everybody who can pull the image has them, and a later layer does not take them away", secrets},
		{"setuid", Warning, "files that run as their owner or group, or with capabilities",
			"they are the usual way from a user to root, and a program in a container rarely needs one", setuid},
		{"shell", Error, "a shell in an image that is meant to have none",
			"it makes every command injection a remote shell", shell},
		{"unpinned", Note, "a configuration without a lock, and an image that is named by tag",
			"what was looked at is not what the same words give later", unpinned},
		{"unresolved-library", Error, "programs and libraries that need a library or program interpreter that is not found",
			"they do not start, or fail when they are first used", unresolvedLibrary},
		{"world-writable", Warning, "files that everybody may write to, and such directories without the sticky bit",
			"any process can change what another one runs or reads", worldWritable},
	}
}

func rootUser(_ context.Context, r *run) error {
	user, _, _ := strings.Cut(r.in.User, ":")
	switch user {
	case "":
		r.add(Finding{Key: "accounts.run-as", Message: "no user is set, which is root"})
	case "0", "root":
		r.add(Finding{Key: "accounts.run-as", Message: fmt.Sprintf("the user is %s", r.in.User)})
	}
	return nil
}

func setuid(_ context.Context, r *run) error {
	for _, n := range r.in.Tree.SetID() {
		r.add(at(n, "mode %04o, owner %d:%d", n.Mode, n.UID, n.GID))
	}
	for _, n := range r.in.Tree.All() {
		if _, ok := n.Xattrs["security.capability"]; ok && n.Type == apk.TypeFile {
			r.add(at(n, "has file capabilities"))
		}
	}
	return nil
}

func worldWritable(_ context.Context, r *run) error {
	for _, n := range r.in.Tree.WorldWritable() {
		what := "file"
		if n.Type == apk.TypeDir {
			what = "directory"
		}
		r.add(at(n, "%s with mode %04o", what, n.Mode))
	}
	return nil
}

func shell(_ context.Context, r *run) error {
	if !r.in.NoShell {
		return nil
	}
	for _, n := range r.in.Tree.Shells() {
		what := "a shell"
		if n.Type == apk.TypeSymlink {
			what = "a shell, by way of " + n.Link
		}
		r.add(at(n, "%s", what))
	}
	return nil
}

func mutableReference(_ context.Context, r *run) error { return references(r, false) }

func unpinned(_ context.Context, r *run) error { return references(r, true) }

func references(r *run, minor bool) error {
	for _, x := range r.in.References {
		if x.Mutable != "" && x.Minor == minor {
			r.add(Finding{Key: x.Key, Message: x.Name + ": " + x.Mutable})
		}
	}
	const base = "org.opencontainers.image.base."
	if name := r.in.Annotations[base+"name"]; !minor && name != "" && r.in.Annotations[base+"digest"] == "" && !strings.Contains(name, "@sha256:") {
		r.add(Finding{Key: "annotations", Message: fmt.Sprintf("annotation %sname: %s: no digest beside it", base, name)})
	}
	return nil
}

// tlsLibraries are the beginnings of SONAMEs of libraries that speak TLS.
var tlsLibraries = []string{"libssl.so.", "libgnutls.so.", "libmbedtls.so.", "libwolfssl.so.", "libssl3.so", "libs2n.so", "libbotan-", "libtls.so."}

// bundles are where TLS libraries look for authorities, of the distributions
// whose packages are used.
var bundles = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem", "/etc/ssl/ca-bundle.pem", "/etc/pki/tls/certs/ca-bundle.crt"}

func caBundle(_ context.Context, r *run) error {
	if r.hasAuthorities() {
		return nil
	}
	type user struct {
		node    *files.Node
		library string
	}
	var users []user
	for _, n := range r.in.Tree.All() {
		if n.ELF == nil || n.HardLink != "" || isTLS(n.ELF.SONAME) != "" {
			continue
		}
		for _, need := range n.ELF.Needed {
			if isTLS(need) != "" {
				users = append(users, user{n, need})
				break
			}
		}
	}
	if len(users) == 0 {
		return nil
	}
	f := at(users[0].node, "links %s, and there is no bundle of certificate authorities: expected one of %s", users[0].library, strings.Join(bundles, ", "))
	if len(users) > 1 {
		for _, u := range users {
			f.Paths = append(f.Paths, u.node.Name())
		}
	}
	r.add(f)
	return nil
}

func isTLS(soname string) string {
	for _, prefix := range tlsLibraries {
		if strings.HasPrefix(soname, prefix) {
			return prefix
		}
	}
	return ""
}

// hasAuthorities looks for a bundle, or for the directory or file that the
// environment names.
func (r *run) hasAuthorities() bool {
	file, dir := bundles, []string{"/etc/ssl/certs"}
	for _, e := range r.in.Env {
		name, value, _ := strings.Cut(e, "=")
		switch name {
		case "SSL_CERT_FILE":
			file = []string{value}
		case "SSL_CERT_DIR":
			dir = strings.Split(value, ":")
		}
	}
	for _, name := range file {
		if n, err := r.in.Tree.Stat(name); err == nil && n.Type == apk.TypeFile && n.Size > 0 {
			return true
		}
	}
	for _, name := range dir {
		n, err := r.in.Tree.Stat(name)
		if err != nil || n.Type != apk.TypeDir {
			continue
		}
		for _, child := range r.in.Tree.Children(n.Path) {
			to, err := r.in.Tree.Stat(child.Name())
			switch path.Ext(child.Path) {
			case ".0", ".pem", ".crt":
				if err == nil && to.Type == apk.TypeFile && to.Size > 0 {
					return true
				}
			}
		}
	}
	return false
}
