package imagetest

import (
	"context"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/cairn-dev/cairn/assemble/files"
	"github.com/cairn-dev/cairn/packages/apk"
)

// own runs cairn's tests, each for itself.
func (r *run) own(ctx context.Context, o *Own) error {
	for _, x := range []struct {
		key   string
		asked bool
		body  func(*test)
	}{
		{"noShell", o.NoShell, func(t *test) { none(t, r.tree.Shells(), "a shell") }},
		{"noSetuid", o.NoSetuid, func(t *test) { none(t, r.tree.SetID(), "setuid or setgid") }},
		{"noWorldWritable", o.NoWorldWritable, func(t *test) { none(t, r.tree.WorldWritable(), "writable for everybody") }},
		{"user", o.User != "", func(t *test) { r.user(ctx, t, o.User) }},
		{"maxSize", o.MaxSize != "", func(t *test) { r.size(t, o) }},
		{"maxLayers", o.MaxLayers != nil, func(t *test) {
			if n := len(r.img.Manifest.Layers); n > *o.MaxLayers {
				t.fail("found %d layers, expected at most %d", n, *o.MaxLayers)
			}
		}},
		{"packages", o.Packages != nil, func(t *test) { r.packages(t, o.Packages) }},
		{"reproducible", o.Reproducible, func(t *test) { r.reproducible(ctx, t) }},
	} {
		if !x.asked {
			continue
		}
		if err := r.do(ctx, KindOwn, x.key, "cairn."+x.key, x.body); err != nil {
			return err
		}
	}
	return nil
}

func none(t *test, found []*files.Node, what string) {
	for _, n := range found {
		t.fail("%s: found mode %04o, %s%s", n.Name(), n.Mode, what, of(n))
	}
}

// user compares who the image runs as, by number where names are given.
func (r *run) user(ctx context.Context, t *test, want string) {
	found := r.img.Config.Config.User
	if found == want {
		return
	}
	user, group, _ := strings.Cut(found, ":")
	wantUser, wantGroup, withGroup := strings.Cut(want, ":")
	if r.number(ctx, user, "/etc/passwd") == r.number(ctx, wantUser, "/etc/passwd") &&
		(!withGroup || r.number(ctx, group, "/etc/group") == r.number(ctx, wantGroup, "/etc/group")) {
		return
	}
	if found == "" {
		found = "none, which is root"
	}
	t.fail("found %s, expected %s", found, want)
}

// number looks a name up in passwd or group; what is not there stays as it is.
func (r *run) number(ctx context.Context, name, file string) string {
	if _, err := strconv.Atoi(name); err == nil {
		return name
	}
	if name == "" || name == "root" {
		return "0"
	}
	b, err := r.tree.ReadFile(ctx, file)
	if err != nil {
		return name
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Split(strings.TrimSpace(line), ":"); len(f) > 2 && f[0] == name {
			return f[2]
		}
	}
	return name
}

func (r *run) size(t *test, o *Own) {
	var sum int64
	for i := range r.img.Manifest.Layers {
		sum += r.img.Manifest.Layers[i].Size
	}
	if sum > o.size {
		t.fail("found %d bytes in compressed layers, expected at most %s", sum, o.MaxSize)
	}
}

func (r *run) packages(t *test, p *Packages) {
	if !r.tree.Database {
		t.fail("found no installed database, expected one to look packages up in")
		return
	}
	find := func(text string) (hit, name *apk.InstalledPackage, d apk.Dependency) {
		d, _ = apk.ParseDependency(text) // was parsed when the file was read
		for i := range r.tree.Installed {
			x := &r.tree.Installed[i]
			if x.Name == d.Name {
				name = x
			}
			if d.MatchesPackage(&x.Package) {
				hit = x
			}
		}
		return hit, name, d
	}
	for _, text := range p.Present {
		switch hit, name, d := find(text); {
		case hit != nil:
		case name != nil:
			t.fail("package %s: found %s, expected %s", d.Name, name.Version, text)
		default:
			t.fail("package %s: found none", text)
		}
	}
	for _, text := range p.Absent {
		if hit, _, _ := find(text); hit != nil {
			t.fail("package %s: found %s, expected none", text, hit.ID())
		}
	}
}

// leftovers are paths that hold what is of one machine or one moment, with the
// reason. A path that ends in a slash stands for the files below it.
var leftovers = []struct{ path, why string }{
	{"etc/machine-id", "names one machine"},
	{"var/lib/dbus/machine-id", "names one machine"},
	{"var/lib/systemd/random-seed", "is of one start"},
	{"etc/resolv.conf", "is of the build's network"},
	{"etc/hostname", "names the build's machine"},
	{"etc/ssh/ssh_host_rsa_key", "is drawn at random"},
	{"etc/ssh/ssh_host_ecdsa_key", "is drawn at random"},
	{"etc/ssh/ssh_host_ed25519_key", "is drawn at random"},
	{"var/log/", "is written when things happen"},
	{"var/cache/apk/", "is what a repository had at that time"},
	{"var/cache/apt/", "is what a repository had at that time"},
	{"var/lib/apt/lists/", "is what a repository had at that time"},
	{"root/.cache/", "is a cache"},
	{"tmp/", "is temporary"},
	{"var/tmp/", "is temporary"},
}

// reproducible finds what another build of the same would not have again.
func (r *run) reproducible(ctx context.Context, t *test) {
	created := r.img.Config.Created.Time
	recorded := map[string]apk.SHA1{} // contents as packages brought them
	for i := range r.tree.Installed {
		for _, d := range r.tree.Installed[i].Dirs {
			for _, f := range d.Files {
				recorded[path.Join(d.Path, f.Name)] = f.SHA1
			}
		}
	}
	for _, n := range r.tree.All() {
		if created.Unix() > 0 && n.Layer >= 0 && n.MTime > created.Unix() {
			t.fail("%s: changed %s, after the image was made (%s)", n.Name(), clock(n.MTime), clock(created.Unix()))
		}
		if sum, ok := recorded[n.Path]; n.Type != apk.TypeFile || n.Size == 0 || ok && sum == n.SHA1 {
			continue
		}
		for _, l := range leftovers {
			if n.Path == l.path || strings.HasSuffix(l.path, "/") && strings.HasPrefix(n.Path, l.path) {
				t.fail("%s: %s%s", n.Name(), l.why, of(n))
			}
		}
	}
	for i := range r.img.Config.History {
		if h := &r.img.Config.History[i]; h.Created.Unix() > created.Unix() {
			t.fail("history %d: made %s, after the image (%s)", i+1, clock(h.Created.Unix()), clock(created.Unix()))
		}
	}
	r.compiled(ctx, t)
}

// compiled finds Python's compiled files outside of packages that are valid by
// the time of their source (PEP 552: bit 0 of the flags is not set).
func (r *run) compiled(ctx context.Context, t *test) {
	var list []*files.Node
	for _, n := range r.tree.All() {
		if path.Ext(n.Path) == ".pyc" && n.Type == apk.TypeFile && n.Package == "" && n.Size >= 16 {
			list = append(list, n)
		}
	}
	contents, err := r.tree.Read(ctx, list...)
	if err != nil {
		t.fail("%v", err)
	}
	for i, b := range contents {
		if b[4]&1 == 0 {
			t.fail("%s: compiled when the image was built: it holds the time of its source", list[i].Name())
		}
	}
}

func clock(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }
