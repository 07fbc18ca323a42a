package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// tarStore is an archive of a layout, with the place of each file in it.
type tarStore struct {
	file  *os.File
	files map[string]section
}

type section struct{ offset, size int64 }

// maxArchiveFiles bounds the directory of an archive that is held in memory.
const maxArchiveFiles = 1 << 20

func openTar(file string) (*tarStore, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	s := &tarStore{file: f, files: map[string]section{}}
	if err := s.scan(); err != nil {
		f.Close()
		return nil, err
	}
	return s, nil
}

// scan reads the headers; contents are skipped by seeking.
func (s *tarStore) scan() error {
	var magic [2]byte
	if _, err := s.file.ReadAt(magic[:], 0); err == nil && magic == [2]byte{0x1f, 0x8b} {
		return errors.New("compressed with gzip\nhint: gunzip it first")
	}
	tr := tar.NewReader(s.file)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("archive: %w", err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		at, err := s.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if len(s.files) >= maxArchiveFiles {
			return fmt.Errorf("archive: more than %d files", maxArchiveFiles)
		}
		s.files[path.Clean(h.Name)] = section{at, h.Size}
	}
}

func (s *tarStore) open(name string) (io.ReadCloser, error) {
	at, ok := s.files[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return io.NopCloser(io.NewSectionReader(s.file, at.offset, at.size)), nil
}

func (s *tarStore) Close() error { return s.file.Close() }

// loadDocker reads an archive that has no index.json: what `docker save` wrote
// before version 25, or apko.
func (o *Opened) loadDocker(file string) error {
	opener := func() (io.ReadCloser, error) { return os.Open(file) }
	m, err := tarball.LoadManifest(opener)
	if err != nil {
		return fmt.Errorf("neither an OCI layout nor a docker archive: %w", err)
	}
	for _, d := range m {
		var tag *name.Tag
		if len(m) > 1 {
			if len(d.RepoTags) == 0 {
				return fmt.Errorf("several images, and one (%s) has no name", d.Config)
			}
			t, err := name.NewTag(d.RepoTags[0])
			if err != nil {
				return err
			}
			tag = &t
		}
		img, err := tarball.Image(opener, tag)
		if err != nil {
			return err
		}
		if err := o.addDockerImage(img, d.RepoTags); err != nil {
			return err
		}
	}
	return nil
}

func (o *Opened) addDockerImage(img v1.Image, tags []string) error {
	d, err := descriptor(img)
	if err != nil {
		return err
	}
	o.Roots = append(o.Roots, OpenedRoot{Root: img, Descriptor: d, Names: slices.Clone(tags)})
	return nil
}
