// Command probe looks at the image that it runs in, and tells as JSON what it
// finds: the tests of the catalogue put it into every image.
package main

import (
	"crypto/tls"
	"encoding/json"
	"io/fs"
	"log"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"time"
)

type findings struct {
	UID, GID      int
	Home          string
	HomeIsOurs    bool
	Trusts        string // "" when the server's certificate was verified
	Summer        int    // offset of Zurich's time from UTC in summer, in seconds
	Tmp           string
	SetUID        []string
	WorldWritable []string
	Shells        []string
}

var shells = regexp.MustCompile(`(^|/)s?bin/(ba|da|a|z|k|c|tc|fi|mk|rba)?sh$|(^|/)(busybox|toybox)$`)

func main() {
	log.SetFlags(0)
	f := findings{UID: os.Getuid(), GID: os.Getgid(), Home: os.Getenv("HOME")}
	if fi, err := os.Stat(f.Home); err == nil && fi.IsDir() && os.WriteFile(filepath.Join(f.Home, ".probe"), nil, 0o600) == nil {
		f.HomeIsOurs = true
	}
	if conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", os.Args[1], nil); err != nil {
		f.Trusts = err.Error()
	} else if err := conn.Close(); err != nil {
		log.Fatal(err)
	}
	if zone, err := time.LoadLocation("Europe/Zurich"); err == nil {
		_, f.Summer = time.Date(2024, 7, 1, 0, 0, 0, 0, zone).Zone()
	}
	if fi, err := os.Stat("/tmp"); err == nil {
		f.Tmp = fi.Mode().String()
	}
	err := filepath.WalkDir("/", func(path string, d fs.DirEntry, err error) error {
		switch {
		case path == "/proc" || path == "/sys" || path == "/dev":
			return fs.SkipDir
		case err != nil && os.IsPermission(err):
			return nil
		case err != nil:
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		if fi.Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			f.SetUID = append(f.SetUID, path)
		}
		if fi.Mode()&fs.ModeSymlink == 0 && fi.Mode()&0o002 != 0 && fi.Mode()&fs.ModeSticky == 0 {
			f.WorldWritable = append(f.WorldWritable, path)
		}
		if shells.MatchString(path) {
			f.Shells = append(f.Shells, path)
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		log.Fatal(err)
	}
}
