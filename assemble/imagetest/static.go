package imagetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/assemble/files"
	"github.com/cairn-dev/cairn/packages/apk"
)

// existence looks at a path. What should exist must be there with symbolic links
// followed; what should not must not be there as a link either.
func (r *run) existence(t *test, x *ExistenceTest) {
	name := absolute(expand(x.Path, r.env()))
	link, linkErr := r.tree.Lstat(name)
	if x.ShouldExist != nil && !*x.ShouldExist {
		if linkErr == nil {
			t.fail("%s: found %s, expected nothing%s", name, kindOf(link), of(link))
		}
		return
	}
	n, err := link, linkErr
	if !strings.HasPrefix(x.Permissions, "L") {
		n, err = r.tree.Stat(name)
	}
	if err != nil {
		t.fail("%s, expected it there", notThere(name, err))
		return
	}
	if found := FileMode(n).String(); x.Permissions != "" && found != x.Permissions {
		t.fail("%s: permissions: found %s, expected %s", name, found, x.Permissions)
	}
	for _, id := range []struct {
		name  string
		found int
		want  *int
	}{{"uid", n.UID, x.UID}, {"gid", n.GID, x.GID}} {
		if id.want != nil && *id.want != id.found {
			t.fail("%s: %s: found %d, expected %d", name, id.name, id.found, *id.want)
		}
	}
	bits := map[string]uint32{"owner": 0o100, "group": 0o010, "other": 0o001, "any": 0o111}[x.IsExecutableBy]
	if bits != 0 && n.Mode&bits == 0 {
		t.fail("%s: found mode %04o, expected it to be executable by %s", name, n.Mode, x.IsExecutableBy)
	}
}

// absolute reads a path from the root, as commands of a container are.
func absolute(name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	return "/" + name
}

func notThere(name string, err error) string {
	text := strings.TrimSuffix(err.Error(), ": "+fs.ErrNotExist.Error())
	if text == name {
		return name + ": found nothing"
	}
	return text + ": found nothing"
}

func kindOf(n *files.Node) string {
	switch n.Type {
	case apk.TypeFile:
		return "a file"
	case apk.TypeDir:
		return "a directory"
	case apk.TypeSymlink:
		return "a link to " + n.Link
	}
	return "a special file"
}

// of names the package of a path.
func of(n *files.Node) string {
	if n.Package == "" {
		return ""
	}
	return " (of package " + n.Package + ")"
}

// FileMode is a path's type and mode as Go spells them.
func FileMode(n *files.Node) fs.FileMode {
	return apk.FileMode(n.Mode) | map[apk.EntryType]fs.FileMode{apk.TypeDir: fs.ModeDir, apk.TypeSymlink: fs.ModeSymlink, apk.TypeFIFO: fs.ModeNamedPipe,
		apk.TypeBlock: fs.ModeDevice, apk.TypeChar: fs.ModeDevice | fs.ModeCharDevice}[n.Type]
}

func (r *run) content(ctx context.Context, t *test, x *ContentTest, key string) {
	name := absolute(expand(x.Path, r.env()))
	b, ok := r.readFile(ctx, t, name)
	if !ok {
		return
	}
	r.match(t, name, string(b), key+".expectedContents", key+".excludedContents", len(x.Expected), len(x.Excluded))
}

// readFile reads a file or says why it cannot.
func (r *run) readFile(ctx context.Context, t *test, name string) ([]byte, bool) {
	b, err := r.tree.ReadFile(ctx, name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		t.fail("%s, expected a file", notThere(name, err))
	case err != nil:
		t.fail("%v", err)
	}
	return b, err == nil
}

// match holds a text against the expressions of two keys.
func (r *run) match(t *test, what, text, expected, excluded string, nExpected, nExcluded int) {
	for i := range nExpected {
		if re := r.file.patterns[fmt.Sprintf("%s[%d]", expected, i)]; !re.MatchString(text) {
			t.fail("%s: expected %q, which is not in it", what, re)
		}
	}
	for i := range nExcluded {
		re := r.file.patterns[fmt.Sprintf("%s[%d]", excluded, i)]
		if m := re.FindString(text); re.MatchString(text) {
			t.fail("%s: found %q, expected nothing that matches %q", what, short(m), re)
		}
	}
}

// short cuts a text to what fits a message.
func short(s string) string {
	if r := []rune(s); len(r) > 100 {
		return string(r[:100]) + "…"
	}
	return s
}

func (r *run) metadata(t *test, m *MetadataTest) {
	c := &r.img.Config.Config
	env := r.env()
	r.settings(t, "environment variable", "metadataTest.envVars", m.Env, env)
	r.settings(t, "environment variable", "metadataTest.env", m.OldEnv, env)
	r.settings(t, "label", "metadataTest.labels", m.Labels, c.Labels)
	for _, e := range m.UnboundEnv {
		if v, ok := env[e.Key]; ok {
			t.fail("environment variable %s: found %q, expected none", e.Key, v)
		}
	}
	words(t, "entrypoint", c.Entrypoint, m.Entrypoint)
	words(t, "cmd", c.Cmd, m.Cmd)
	members(t, "port", m.ExposedPorts, m.UnexposedPorts, func(p string) bool { return port(c.ExposedPorts, p) })
	members(t, "volume", m.Volumes, m.UnmountedVolumes, func(v string) bool { _, ok := c.Volumes[v]; return ok })
	if m.Workdir != "" && m.Workdir != c.WorkingDir {
		t.fail("workdir: found %q, expected %q", c.WorkingDir, m.Workdir)
	}
	if m.User != "" && m.User != c.User {
		t.fail("user: found %q, expected %q", c.User, m.User)
	}
}

func (r *run) settings(t *test, what, key string, want []Env, found map[string]string) {
	for i, e := range want {
		v, ok := found[e.Key]
		re := r.file.patterns[fmt.Sprintf("%s[%d].value", key, i)]
		switch {
		case !ok:
			t.fail("%s %s: found none, expected %q", what, e.Key, e.Value)
		case re != nil && !re.MatchString(v):
			t.fail("%s %s: found %q, expected a match of %q", what, e.Key, v, re)
		case re == nil && v != e.Value:
			t.fail("%s %s: found %q, expected %q", what, e.Key, v, e.Value)
		}
	}
}

func words(t *test, what string, found []string, want *[]string) {
	if want != nil && !slices.Equal(found, *want) {
		t.fail("%s: found %q, expected %q", what, found, *want)
	}
}

func members(t *test, what string, want, not []string, has func(string) bool) {
	for _, w := range want {
		if !has(w) {
			t.fail("%s %s: expected it, not found", what, w)
		}
	}
	for _, w := range not {
		if has(w) {
			t.fail("%s %s: found it, expected it not to be there", what, w)
		}
	}
}

// port finds a port; one without a protocol is TCP's.
func port(found map[string]struct{}, name string) bool {
	_, plain := found[name]
	_, tcp := found[name+"/tcp"]
	_, bare := found[strings.TrimSuffix(name, "/tcp")]
	return plain || tcp || bare
}

// unwanted are the licences that container-structure-test refuses, and free is
// the package that it lets pass.
var unwanted, free = []string{"AGPL", "WTFPL"}, "libgnutls30"

func (r *run) license(ctx context.Context, t *test, x *LicenseTest) {
	list := slices.Clone(x.Files)
	if x.Debian {
		docs, err := r.tree.Stat("/usr/share/doc")
		if err != nil {
			t.fail("%s, expected the licences of Debian's packages", notThere("/usr/share/doc", err))
			return
		}
		for _, n := range r.tree.Children(docs.Path) {
			if n.Type == apk.TypeDir && path.Base(n.Path) != free {
				list = append(list, path.Join(n.Name(), "copyright"))
			}
		}
	}
	for _, name := range list {
		b, ok := r.readFile(ctx, t, absolute(name))
		for _, word := range unwanted {
			if ok && strings.Contains(strings.ToUpper(string(b)), word) {
				t.fail("%s: found %s, expected a licence without it", name, word)
			}
		}
	}
}
