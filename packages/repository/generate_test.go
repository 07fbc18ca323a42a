package repository

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestGenerateKey(t *testing.T) {
	name := filepath.Join(t.TempDir(), "me.rsa")
	if err := GenerateKey(name); err != nil {
		t.Fatal(err)
	}
	for n, mode := range map[string]os.FileMode{name: 0o600, name + ".pub": 0o644} {
		fi, err := os.Stat(n)
		if err != nil || fi.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", n, fi, err)
		}
	}
	private, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	k, err := ParseSigningKey(name, private)
	if err != nil || k.Name != "me.rsa.pub" || k.Private.N.BitLen() != 4096 {
		t.Errorf("%v, %v", k.Name, err)
	}
	b, err := os.ReadFile(name + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	if pub, err := ParseKey(name+".pub", b); err != nil || !pub.Public.Equal(k.Private.Public()) {
		t.Errorf("public key: %v", err)
	}
	if err := GenerateKey(name); !errors.Is(err, fs.ErrExist) {
		t.Errorf("again: %v", err)
	}
	if err := GenerateKey(""); err == nil || err.Error() != `key "": expected a file name` {
		t.Errorf("no name: %v", err)
	}
}
