package image

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble/layer"
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if out := os.Getenv("CAIRN_TEST_KILLED"); out != "" {
		o, err := ParseOutput(out)
		if err == nil {
			var img *Image
			if img, err = New(pipedInput(os.Getenv("CAIRN_TEST_PIPE"))); err == nil {
				_, err = Write(context.Background(), o, img, WriteOptions{})
			}
		}
		if err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// pipedInput is an image whose layer comes slowly, from a pipe.
func pipedInput(pipe string) Input {
	content := bytes.Repeat([]byte("x"), 1<<20)
	return Input{
		Layers: []layer.Layer{{Digest: hashOf(content), DiffID: hashOf(content), Size: int64(len(content)), Path: pipe}},
		Arch:   "amd64", Created: testTime,
	}
}

// A writer that is killed in the middle of a layer leaves the previous output,
// and the next one is not disturbed by what it left.
func TestKilledWriterLeavesThePreviousOutput(t *testing.T) {
	for _, out := range []string{"lay/", "x.tar", "oci-archive:y.tar"} {
		t.Run(out, func(t *testing.T) {
			dir := t.TempDir()
			o := mustOutput(t, out)
			o.Path = filepath.Join(dir, o.Path)
			first := testImage(t, "arm64")
			mustWrite(t, o, first, WriteOptions{})
			before := listing(t, dir)

			pipe := filepath.Join(t.TempDir(), "pipe")
			if err := syscall.Mkfifo(pipe, 0o644); err != nil {
				t.Fatal(err)
			}
			child := exec.Command(os.Args[0])
			child.Env = append(os.Environ(), "CAIRN_TEST_KILLED="+o.String(), "CAIRN_TEST_PIPE="+pipe)
			var stderr strings.Builder
			child.Stderr = &stderr
			if err := child.Start(); err != nil {
				t.Fatal(err)
			}
			w, err := os.OpenFile(pipe, os.O_WRONLY, 0) // returns when the child reads
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<19)); err != nil {
				t.Fatal(err)
			}
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = child.Wait()
			w.Close()
			if stderr.Len() > 0 {
				t.Fatalf("the child ended by itself: %s", stderr.String())
			}
			after := listing(t, dir)
			for path := range after {
				if before[path] == "" && !strings.Contains(path, tempPrefix) && !strings.Contains(path, blobsDir) {
					t.Errorf("left behind: %s", path)
				}
			}
			for path, was := range before {
				if after[path] != was {
					t.Errorf("%s was %s, is %s", path, was, after[path])
				}
			}
			if opened := mustOpen(t, o.Path); opened.Roots[0].Descriptor.Digest != first.hash {
				t.Error("the previous output is gone")
			}
			mustWrite(t, o, first, WriteOptions{})
			if got := listing(t, dir); out == "lay/" && !cmp.Equal(before, got) {
				t.Error(cmp.Diff(before, got))
			}
		})
	}
}
