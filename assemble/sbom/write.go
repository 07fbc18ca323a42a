package sbom

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Format is a format of documents, as apko's --sbom-formats spells it.
type Format string

// The formats that are written.
const (
	SPDX      Format = "spdx"      // SPDX 2.3 in JSON
	CycloneDX Format = "cyclonedx" // CycloneDX 1.6 in JSON
)

// Check says what is wrong with a format that is not known.
func (f Format) Check() error {
	if f != SPDX && f != CycloneDX {
		return fmt.Errorf("sbom format %.100q: expected %s or %s", string(f), SPDX, CycloneDX)
	}
	return nil
}

// document is one file to be written.
type document struct {
	format Format
	name   string
	write  func(io.Writer) error
}

// tempPrefix begins the names of temporary files.
const tempPrefix = ".cairn-tmp-"

// WriteAll writes the documents of all images, and of the index unless it is
// nil, into dir: sbom-ARCH.spdx.json, sbom-ARCH.cdx.json (ARCH in apk's
// spelling, as apko does), sbom-index.spdx.json and sbom-index.cdx.json; where
// formats are given, only those in one of them. All are written completely
// before the first takes its name; mode 0644. The directory is made when it is
// missing, its parent is not. It returns the paths.
func WriteAll(dir string, images []*Graph, index *Index, formats ...Format) (paths []string, err error) {
	var all []document
	for _, g := range images {
		all = append(all, g.documents()...)
	}
	if index != nil {
		all = append(all, index.documents()...)
	}
	if len(formats) > 0 {
		all = slices.DeleteFunc(all, func(d document) bool { return !slices.Contains(formats, d.format) })
	}
	paths, err = writeAll(dir, all)
	if err != nil {
		return nil, fmt.Errorf("sbom: %w", err)
	}
	return paths, nil
}

func writeAll(dir string, all []document) (paths []string, err error) {
	made, err := makeDir(dir)
	if err != nil {
		return nil, err
	}
	var temps []string
	defer func() {
		for _, t := range temps {
			os.Remove(t) // those that were renamed are gone
		}
		if err != nil && made {
			os.Remove(dir)
		}
	}()
	for _, d := range all {
		temp, err := writeTemp(dir, d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, d.name), err)
		}
		temps = append(temps, temp)
	}
	for i, d := range all {
		path := filepath.Join(dir, d.name)
		if err := os.Rename(temps[i], path); err != nil {
			return nil, err
		}
		paths = append(paths, path)
	}
	return paths, nil
}

func makeDir(dir string) (made bool, err error) {
	err = os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, os.Chmod(dir, 0o755)
}

func writeTemp(dir string, d document) (name string, err error) {
	f, err := os.CreateTemp(dir, tempPrefix+"*")
	if err != nil {
		return "", err
	}
	err = errors.Join(d.write(f), f.Chmod(0o644), f.Close())
	if err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}
