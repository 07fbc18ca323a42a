// Command gen writes the reference of the configuration language: the JSON
// Schema beside package config and docs/configuration.md. What keys there are,
// their types, defaults and values come from package config itself; what they
// mean is written here for apko's keys and taken from the Go comments for
// cairn's own.
//
// It reads and writes nothing else, and its output depends on nothing else.
//
//	cd assemble/config && go generate
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/cairn-dev/cairn/assemble/config"
)

func main() {
	if err := run("."); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// run writes the generated files; dir is that of package config.
func run(dir string) error {
	files, err := generate(dir)
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate returns the files by their path from the directory of package
// config.
func generate(dir string) (map[string][]byte, error) {
	texts, err := allTexts(dir)
	if err != nil {
		return nil, err
	}
	root := config.Reference()
	if err := complete(root, texts); err != nil {
		return nil, err
	}
	schema, err := jsonSchema(root, texts)
	if err != nil {
		return nil, err
	}
	return map[string][]byte{
		"schema.json": schema,
		filepath.Join("..", "..", "docs", "configuration.md"): markdown(root, texts),
	}, nil
}
