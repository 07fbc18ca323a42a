package accounts

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	passwd = "root:x:0:0:root:/root:/bin/ash\n" +
		"# a comment: kept\n" +
		"bin:x:1:1:bin:/bin:/sbin/nologin\n" +
		"+@nis::::::\n" +
		"broken:x:7\n" +
		"\n" +
		"nobody:x:65534:65534:nobody:/:/sbin/nologin\n" +
		"svc:x:0900:900::/dev/null:/sbin/nologin\n" +
		"twin:x:901:901::/bin:/bin/sh\n" +
		"odd:x:902:902::relative:/bin/sh\n"
	group  = "root:x:0:root\nwheel:x:10:root,adm\nnobody:x:65534:"
	shadow = "root:*:19757:0:99999:7:14:20000:reserved\nbin:!::0:::::\n"
)

func gid(n uint32) *uint32 { return &n }

func merge(t *testing.T, users []User, groups []Group) Result {
	t.Helper()
	r, err := Merge([]byte(passwd), []byte(group), []byte(shadow), users, groups)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestMergeAppends(t *testing.T) {
	r := merge(t, []User{{Name: "nonroot", UID: 65532}, {Name: "git", UID: 500, GID: gid(0), Home: "/srv/git", Shell: "/bin/bash", Comment: "Git"}},
		[]Group{{Name: "nonroot", GID: 65532}, {Name: "git", GID: 500, Members: []string{"git", "nonroot"}}})
	want := Result{
		Passwd: []byte(passwd + "nonroot:x:65532:65532:Account created by cairn:/home/nonroot:/bin/sh\ngit:x:500:0:Git:/srv/git:/bin/bash\n"),
		Group:  []byte(group + "\nnonroot:x:65532:\ngit:x:500:git,nonroot\n"),
		Shadow: []byte(shadow + "nonroot:!:::::::\ngit:!:::::::\n"),
		Homes: []Home{{"root", "root", 0, 0, 0o700}, {"bin", "bin", 1, 1, 0o700},
			{"nonroot", "home/nonroot", 65532, 65532, 0o700}, {"git", "srv/git", 500, 0, 0o700}},
	}
	if d := cmp.Diff(want, r); d != "" {
		t.Error(d)
	}
}

func TestMergeWithoutChange(t *testing.T) {
	r := merge(t, nil, nil)
	if string(r.Passwd) != passwd || string(r.Group) != group || string(r.Shadow) != shadow {
		t.Errorf("files changed: %+v", r)
	}
	r, err := Merge(nil, nil, nil, nil, nil)
	if err != nil || r.Passwd != nil || r.Group != nil || r.Shadow != nil || r.Homes != nil {
		t.Errorf("files made of nothing: %+v, %v", r, err)
	}
	// What is there already is not written again.
	r = merge(t, []User{{Name: "root", UID: 0}}, []Group{{Name: "wheel", GID: 10, Members: []string{"adm"}}})
	if string(r.Passwd) != passwd || string(r.Group) != group || string(r.Shadow) != shadow {
		t.Errorf("files changed: %+v", r)
	}
}

func TestMergeIntoMissingFiles(t *testing.T) {
	r, err := Merge(nil, nil, nil, []User{{Name: "a", UID: 1}}, []Group{{Name: "a", GID: 1}})
	if err != nil || string(r.Passwd) != "a:x:1:1:Account created by cairn:/home/a:/bin/sh\n" || string(r.Group) != "a:x:1:\n" || string(r.Shadow) != "a:!:::::::\n" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestMergeCompletesExisting(t *testing.T) {
	r := merge(t, []User{{Name: "svc", UID: 900, GID: gid(10), Home: "/srv", Shell: "/bin/sh"}}, []Group{{Name: "wheel", GID: 10, Members: []string{"root", "svc"}}})
	if want := strings.Replace(passwd, "svc:x:0900:900::/dev/null:/sbin/nologin", "svc:x:0900:10::/srv:/bin/sh", 1); string(r.Passwd) != want {
		t.Error(cmp.Diff(want, string(r.Passwd)))
	}
	if want := strings.Replace(group, "root,adm", "root,adm,svc", 1) + "\n"; string(r.Group) != want {
		t.Error(cmp.Diff(want, string(r.Group)))
	}
	if want := shadow + "svc:!:::::::\n"; string(r.Shadow) != want {
		t.Error(cmp.Diff(want, string(r.Shadow)))
	}
}

// Research §0, §1.4: apko's reader of /etc/shadow forgets the third field.
func TestApkoDefect_ShadowLosesLastChange(t *testing.T) {
	r := merge(t, []User{{Name: "new", UID: 5000}}, nil)
	if !bytes.HasPrefix(r.Shadow, []byte("root:*:19757:0:99999:7:14:20000:reserved\n")) {
		t.Errorf("shadow is %q", r.Shadow)
	}
}

// apko appends a second line for a name that is there.
func TestApkoDefect_DuplicateAccountLines(t *testing.T) {
	r := merge(t, []User{{Name: "nobody", UID: 65534, Shell: "/bin/sh"}}, []Group{{Name: "nobody", GID: 65534}})
	if n := strings.Count("\n"+string(r.Passwd), "\nnobody:"); n != 1 {
		t.Errorf("%d lines for nobody", n)
	}
	if n := strings.Count("\n"+string(r.Group), "\nnobody:"); n != 1 {
		t.Errorf("%d groups nobody", n)
	}
}

func TestMergeWarnsOfSharedIDs(t *testing.T) {
	r := merge(t, []User{{Name: "nginx", UID: 65534}}, []Group{{Name: "nginx", GID: 10}})
	want := []string{`group "nginx": id 10 is also that of "wheel"`, `user "nginx": id 65534 is also that of "nobody"`}
	if d := cmp.Diff(want, r.Warnings); d != "" {
		t.Error(d)
	}
}

func TestMergeErrors(t *testing.T) {
	type users = []User
	for want, c := range map[string]struct {
		users    []User
		groups   []Group
		conflict bool
	}{
		`user "bin": id 2, but line 3 of the image's file says 1: accounts conflict`:      {users: users{{Name: "bin", UID: 2}}, conflict: true},
		`group "wheel": id 11, but line 2 of the image's file says 10: accounts conflict`: {groups: []Group{{Name: "wheel", GID: 11}}, conflict: true},
		`user "broken": line 5 of the image's file has 3 fields, expected 7`:              {users: users{{Name: "broken", UID: 7}}},
		`user "b": id 5 is given twice, first by "a": accounts conflict`:                  {users: users{{Name: "a", UID: 5}, {Name: "b", UID: 5}}, conflict: true},
		`user "a": name a is given twice, first by "a": accounts conflict`:                {users: users{{Name: "a", UID: 5}, {Name: "a", UID: 6}}, conflict: true},
		`group "h": id 5 is given twice, first by "g": accounts conflict`:                 {groups: []Group{{Name: "g", GID: 5}, {Name: "h", GID: 5}}, conflict: true},
		`group "g": name g is given twice, first by "g": accounts conflict`:               {groups: []Group{{Name: "g", GID: 5}, {Name: "g", GID: 6}}, conflict: true},
		`user without a name`:  {users: users{{UID: 5}}},
		`group without a name`: {groups: []Group{{GID: 5}}},
		`user "a:b": expected a name without colon, slash, comma, space and control characters`:     {users: users{{Name: "a:b"}}},
		`user "a\nroot": expected a name without colon, slash, comma, space and control characters`: {users: users{{Name: "a\nroot"}}},
		`user "a/../b": expected a name without colon, slash, comma, space and control characters`:  {users: users{{Name: "a/../b"}}},
		`user "+a": expected a name that does not begin with '+'`:                                   {users: users{{Name: "+a"}}},
		`group "#a": expected a name that does not begin with '#'`:                                  {groups: []Group{{Name: "#a"}}},
		`user "a": home "home/a": expected a clean absolute path`:                                   {users: users{{Name: "a", Home: "home/a"}}},
		`user "a": home "/home/../root": expected a clean absolute path`:                            {users: users{{Name: "a", Home: "/home/../root"}}},
		`user "a": shell "/bin/sh\nroot::0:0:::": expected no colon and no control character`:       {users: users{{Name: "a", Shell: "/bin/sh\nroot::0:0:::"}}},
		`user "a": comment "x:y": expected no colon and no control character`:                       {users: users{{Name: "a", Comment: "x:y"}}},
		`group "g": member "a,b": expected a user name`:                                             {groups: []Group{{Name: "g", Members: []string{"a,b"}}}},
		`group "g": member "": expected a user name`:                                                {groups: []Group{{Name: "g", Members: []string{""}}}},
	} {
		r, err := Merge([]byte(passwd), []byte(group), []byte(shadow), c.users, c.groups)
		if err == nil || err.Error() != want || errors.Is(err, ErrConflict) != c.conflict || r.Passwd != nil {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

func TestResolveUser(t *testing.T) {
	for in, want := range map[string]string{
		"root": "0", "nobody": "65534", "svc": "900", "65532": "65532", "missing": "missing", "": "", "bin:wheel": "1:10", "bin:missing": "1:missing",
		"5:6": "5:6", "broken": "7", "nobody:nobody": "65534:65534", "#": "#",
	} {
		if got := ResolveUser([]byte(passwd), []byte(group), in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func FuzzMerge(f *testing.F) {
	f.Add([]byte(passwd), []byte(group), []byte(shadow), "nonroot", uint32(65532), "/home/x")
	f.Add([]byte("a:x:1:1:::"), []byte("a:x:1"), []byte(""), "a", uint32(1), "")
	f.Fuzz(func(t *testing.T, p, g, s []byte, name string, id uint32, home string) {
		users, groups := []User{{Name: name, UID: id, Home: home}}, []Group{{Name: name, GID: id, Members: []string{"m"}}}
		r, err := Merge(p, g, s, users, groups)
		if err != nil {
			return
		}
		again, err := Merge(r.Passwd, r.Group, r.Shadow, users, groups)
		if err != nil || !bytes.Equal(again.Passwd, r.Passwd) || !bytes.Equal(again.Group, r.Group) || !bytes.Equal(again.Shadow, r.Shadow) {
			t.Errorf("merging twice is not merging once: %v\n%+v\n%+v", err, r, again)
		}
		for _, h := range r.Homes {
			if h.Path == "" || strings.HasPrefix(h.Path, "/") || strings.Contains("/"+h.Path+"/", "/../") {
				t.Errorf("home %q", h.Path)
			}
		}
	})
}
