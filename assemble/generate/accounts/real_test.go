package accounts_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/assemble/generate/accounts"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// Alpine's own files: all lines stay, all homes are found.
func TestMergeIntoAlpine(t *testing.T) {
	pkg := apktest.Data(t, "alpine-3.19-boot", "x86_64", "alpine-baselayout-data-3.4.3-r2.apk")
	passwd, group, shadow := apktest.ReadFile(t, pkg, "etc/passwd"), apktest.ReadFile(t, pkg, "etc/group"), apktest.ReadFile(t, pkg, "etc/shadow")
	r, err := accounts.Merge(passwd, group, shadow, []accounts.User{{Name: "nonroot", UID: 65532}, {Name: "nobody", UID: 65534, Home: "/nonexistent"}},
		[]accounts.Group{{Name: "nonroot", GID: 65532}})
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(passwd, []byte(":nobody:/:"), []byte(":nobody:/nonexistent:"), 1)
	if want := string(changed) + "nonroot:x:65532:65532:Account created by cairn:/home/nonroot:/bin/sh\n"; string(r.Passwd) != want {
		t.Errorf("passwd:\n%s", r.Passwd)
	}
	if want := string(group) + "nonroot:x:65532:\n"; string(r.Group) != want {
		t.Errorf("group:\n%s", r.Group)
	}
	if want := string(shadow) + "nonroot:!:::::::\n"; string(r.Shadow) != want {
		t.Errorf("shadow:\n%s", r.Shadow)
	}
	homes := map[string]string{}
	for _, h := range r.Homes {
		homes[h.Path] = fmt.Sprint(h.User, " ", h.UID, ":", h.GID)
	}
	for p, want := range map[string]string{"root": "root 0:0", "var/mail": "mail 8:12", "usr/games": "games 35:35", "nonexistent": "nobody 65534:65534",
		"home/nonroot": "nonroot 65532:65532", "dev/null": "", "": ""} {
		if homes[p] != want {
			t.Errorf("home %q: %q, want %q", p, homes[p], want)
		}
	}
	if n := strings.Count(string(passwd), "\n"); len(r.Homes) >= n {
		t.Errorf("%d homes of %d accounts: shared ones are listed twice", len(r.Homes), n)
	}
}

func ExampleMerge() {
	r, err := accounts.Merge([]byte("root:x:0:0:root:/root:/bin/sh\n"), nil, nil, []accounts.User{{Name: "nonroot", UID: 65532}}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s%s", r.Passwd, r.Shadow)
	fmt.Println(accounts.ResolveUser(r.Passwd, r.Group, "nonroot"))
	// Output:
	// root:x:0:0:root:/root:/bin/sh
	// nonroot:x:65532:65532:Account created by cairn:/home/nonroot:/bin/sh
	// nonroot:!:::::::
	// 65532
}
