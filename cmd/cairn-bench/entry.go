package main

import (
	"bufio"
	"os"

	"github.com/cairn-dev/cairn/packages/apk"
)

// entryOf makes the index entry of a package file.
func entryOf(name string) (*apk.Package, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head, err := apk.ReadHead(bufio.NewReader(f), apk.Limits{})
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	p := *head.Package
	p.Checksum, p.Size = head.ControlSHA1, fi.Size()
	return &p, nil
}
