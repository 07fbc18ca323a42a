package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBaseImage(t *testing.T) {
	if base, err := load(t, "contents: {packages: [a]}").BaseImage(); base != nil || err != nil {
		t.Errorf("found %v, %v", base, err)
	}
	dir := t.TempDir()
	for _, sub := range []string{"here", "include/there"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	text := "contents:\n  baseimage:\n    image: " + dir + "/here\n    apkindex: there\n"
	c, err := LoadBytes("x.yaml", []byte(text), Options{IncludePaths: []string{dir + "/none", dir + "/include"}})
	if err != nil {
		t.Fatal(err)
	}
	base, err := c.BaseImage()
	if err != nil || base.Image != dir+"/here" || base.APKIndex != dir+"/include/there" {
		t.Errorf("found %+v, %v", base, err)
	}
	if c.Contents.BaseImage.APKIndex != "there" {
		t.Errorf("the configuration changed: %+v", c.Contents.BaseImage)
	}
}

func TestBaseImageErrors(t *testing.T) {
	c, err := LoadBytes("x.yaml", []byte("contents:\n  baseimage:\n    image: /nonexistent/image\n    apkindex: /nonexistent/index\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.BaseImage()
	want := "x.yaml:3:12: contents.baseimage.image: not readable: found /nonexistent/image: no such file or directory\n" +
		"  hint: looked from the working directory and in the include paths"
	if err == nil || err.Error() != want || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("found    %v\nexpected %s", err, want)
	}
	c.Contents.BaseImage.Image = t.TempDir()
	if _, err = c.BaseImage(); err == nil || !strings.HasPrefix(err.Error(), "x.yaml:4:15: contents.baseimage.apkindex: not readable: found /nonexistent/index: ") {
		t.Errorf("found %v", err)
	}
	cause := errors.New("it is round")
	err = c.BaseImageError("image", cause)
	var all *Errors
	if !errors.As(err, &all) || !errors.Is(err, cause) || err.Error() != "x.yaml:3:12: contents.baseimage.image: not usable: it is round" {
		t.Errorf("found %v", err)
	}
}
