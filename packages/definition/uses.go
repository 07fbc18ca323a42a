package definition

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

//go:embed all:pipelines
var pipelinesFS embed.FS

// BuiltinPipelines returns the names of the pipelines that cairn brings, in
// alphabetical order.
func BuiltinPipelines() []string {
	var out []string
	_ = fs.WalkDir(pipelinesFS, "pipelines", func(path string, e fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(path, ".yaml"); ok {
			out = append(out, strings.TrimPrefix(name, "pipelines/"))
		}
		return err
	})
	slices.Sort(out)
	return out
}

// UsedPipeline is a reusable pipeline that a build is made of.
type UsedPipeline struct {
	// Name is what uses says.
	Name string `json:"name" yaml:"name"`
	// File is where it was found; empty for those that cairn brings.
	File string `json:"file,omitempty" yaml:"file,omitempty"`
	// SHA256 is the lower-case hexadecimal hash of its text.
	SHA256 string `json:"sha256" yaml:"sha256"`
}

// library loads reusable pipelines, each once. It may be used from several
// goroutines.
type library struct {
	dirs   []string
	loaded sync.Map // of string to *loadedPipeline
}

type loadedPipeline struct {
	once sync.Once
	used UsedPipeline
	src  *source
	doc  *yaml.Node // nil for an empty file
	// pipeline is the document decoded onto nothing, for steps that bring
	// nothing of their own.
	pipeline Pipeline
	problems []Problem // what is wrong with the file
	err      error     // why there is none
}

var libraries sync.Map // of string, the joined directories, to *library

// libraryOf returns the library for the directories, searched in order, and
// then cairn's own pipelines. What was loaded is kept for the life of the
// process: directories are taken not to change under it.
func libraryOf(dirs []string) *library {
	key := strings.Join(dirs, "\x00")
	if l, ok := libraries.Load(key); ok {
		return l.(*library)
	}
	l, _ := libraries.LoadOrStore(key, &library{dirs: slices.Clone(dirs)})
	return l.(*library)
}

// find returns the pipeline of that name, or why there is none.
func (l *library) find(name string) *loadedPipeline {
	v, ok := l.loaded.Load(name)
	if !ok {
		v, _ = l.loaded.LoadOrStore(name, &loadedPipeline{})
	}
	p := v.(*loadedPipeline)
	p.once.Do(func() { l.load(name, p) })
	return p
}

var errNoPipeline = errors.New("no such pipeline")

func (l *library) load(name string, p *loadedPipeline) {
	p.used.Name = name
	data, file, err := l.read(name)
	if err != nil {
		p.err = err
		return
	}
	sum := sha256.Sum256(data)
	p.used.File, p.used.SHA256 = file, hex.EncodeToString(sum[:])
	shown := file
	if shown == "" {
		shown = "builtin:" + name + ".yaml"
	}
	p.src = &source{name: shown, text: data}
	r := &report{}
	if len(strings.TrimSpace(string(data))) > 0 {
		p.doc = document(r, p.src)
	}
	p.decode(r, &p.pipeline)
	p.problems = r.problems
}

// decode fills a step from the file: what the file says replaces what the step
// has, maps are joined.
func (p *loadedPipeline) decode(r *report, step *Pipeline) {
	if p.doc == nil {
		return
	}
	d := &decoder{report: r, src: p.src, lenient: true}
	d.value(place{p.doc, ""}, reflect.ValueOf(step).Elem())
}

// read finds the file. A name may have slashes and no way out.
func (l *library) read(name string) (data []byte, file string, err error) {
	if filepath.IsAbs(name) || strings.Contains(name, "..") {
		return nil, "", fmt.Errorf("found %q, expected a name without \"..\" and without a slash at its beginning", shorten(name))
	}
	for _, dir := range l.dirs {
		path := filepath.Join(dir, name+".yaml")
		data, err := readFile(path)
		if err == nil {
			return data, path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, "", err
		}
	}
	data, err = pipelinesFS.ReadFile("pipelines/" + name + ".yaml")
	if err != nil {
		return nil, "", errNoPipeline
	}
	return data, "", nil
}

// names returns all pipelines there are, for hints.
func (l *library) names() []string {
	out := BuiltinPipelines()
	for _, dir := range l.dirs {
		_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if rel, bad := filepath.Rel(dir, path); err == nil && bad == nil && strings.HasSuffix(rel, ".yaml") {
				out = append(out, filepath.ToSlash(strings.TrimSuffix(rel, ".yaml")))
			}
			return nil
		})
	}
	slices.Sort(out)
	return slices.Compact(out)
}
