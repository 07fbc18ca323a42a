package rootfs

import "github.com/cairn-dev/cairn/packages/apk"

// contest decides between the file at n and the member e of the package being
// installed. It reports whether the file at n stays.
func (in *installation) contest(n *node, e *apk.Entry) (keep bool, err error) {
	switch {
	case n.isDir() && e.Type == apk.TypeSymlink:
		return false, in.conflict(n, e.Path, linkOverDirectory, "")
	case n.isDir():
		return false, in.conflict(n, e.Path, directoryInTheWay, "")
	case n.pkg == in.pkg:
		return false, in.conflict(n, e.Path, in.twice(n, e), "")
	case in.onBase(n.pkg):
		return in.contestBase(n, e)
	}
	return in.contestPackage(n, e, &in.in.Packages[n.pkg].Receipt.Package)
}

// contestPackage decides between a file of the package that had it and the member
// e of the package being installed.
func (in *installation) contestPackage(n *node, e *apk.Entry, had *apk.Package) (keep bool, err error) {
	wants := &in.in.Packages[in.pkg].Receipt.Package
	if had.Origin != "" && had.Origin == wants.Origin {
		return false, nil
	}
	// apk_db_install_archive_entry: the greater replaces_priority has the
	// file; with the same, the package that is installed later.
	hadPriority, wantsPriority := replaces(had, wants), replaces(wants, had)
	switch {
	case hadPriority > wantsPriority:
		return true, nil
	case wantsPriority >= 0:
		return false, nil
	case in.compat() && sameContent(in.member(n.pkg, n.member), e):
		return true, nil
	}
	return false, in.conflict(n, e.Path, notReplacedProblem, overwriteHint)
}

// replaces returns the priority with which p replaces files of q, -1 when it
// does not.
func replaces(p, q *apk.Package) int64 {
	for _, d := range p.Replaces {
		if d.Name == q.Name && !d.Conflict && (d.Op == apk.OpChecksum && d.Version == q.Checksum.String() || d.Matches(q.Version)) {
			return p.ReplacesPriority
		}
	}
	return -1
}

// sameContent is apko's rule: two packages may have the same file when the
// checksums that they declare agree.
func sameContent(a, b *apk.Entry) bool {
	return a.Type == b.Type && !a.SHA1.IsZero() && a.SHA1 == b.SHA1
}

// twice words the problem of a package that has a path two times.
func (in *installation) twice(n *node, e *apk.Entry) string {
	if first := in.member(n.pkg, n.member).Path; first != e.Path {
		return "it has the file twice, as " + first + " and as " + e.Path
	}
	return "it has the file twice"
}

// conflict words an error about what stands at n. Directories that several
// packages have are blamed on the last of them.
func (in *installation) conflict(n *node, p, problem, hint string) error {
	other := in.packageID(in.pkg)
	if n.pkg >= 0 {
		other = in.packageID(n.pkg)
	}
	if in.onBase(n.pkg) {
		if p := in.basePackage(n.member); p != nil {
			other = p.ID() + " of the base image"
		}
	}
	if real := n.path(); real != p {
		p += " (" + real + ")"
	}
	return &ConflictError{Path: p, Packages: [2]string{other, in.packageID(in.pkg)}, Problem: problem, Hint: hint}
}
