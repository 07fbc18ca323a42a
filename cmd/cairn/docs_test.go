package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// documents are all texts for people.
func documents(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	return append(files, "../../README.md", "../../CHANGELOG.md")
}

var fence = regexp.MustCompile("(?s)```[a-z]*[^\n]*\n(.*?)```")

// commandLines are the lines of fenced blocks that run cairn or make.
func commandLines(text, program string) []string {
	var out []string
	for _, block := range fence.FindAllStringSubmatch(text, -1) {
		for line := range strings.SplitSeq(block[1], "\n") {
			line = strings.TrimPrefix(strings.TrimSpace(line), "$ ")
			line, _, _ = strings.Cut(line, " #")
			words := strings.Fields(line)
			if len(words) > 0 && filepath.Base(words[0]) == program {
				out = append(out, line)
			}
		}
	}
	return out
}

// Every command line in the documents is one the program understands: the verb
// exists and so does every flag.
func TestDocumentedCommandsExist(t *testing.T) {
	n := 0
	for _, doc := range documents(t) {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, line := range commandLines(string(text), "cairn") {
			n++
			if problem := unknownIn(newRoot(streams{}), strings.Fields(line)[1:]); problem != "" {
				t.Errorf("%s: %s: %s", doc, line, problem)
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d command lines found", n)
	}
}

// unknownIn names the first verb or flag that does not exist.
func unknownIn(root *cobra.Command, words []string) string {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	cmd, rest, err := root.Find(words)
	if err != nil {
		return err.Error()
	}
	if cmd == root && len(words) > 0 && !strings.HasPrefix(words[0], "-") {
		return "no such command"
	}
	for _, w := range rest {
		name, _, _ := strings.Cut(w, "=")
		switch {
		case name == "--help" || name == "-h" || name == "--" || name == "-":
		case strings.HasPrefix(name, "--"):
			if cmd.Flag(name[2:]) == nil && cmd.InheritedFlags().Lookup(name[2:]) == nil {
				return "no flag " + name
			}
		case strings.HasPrefix(name, "-"):
			if cmd.Flags().ShorthandLookup(name[1:2]) == nil && cmd.InheritedFlags().ShorthandLookup(name[1:2]) == nil {
				return "no flag " + name
			}
		}
	}
	return ""
}

var makeTarget = regexp.MustCompile(`(?m)^([a-z0-9-]+):`)

func TestDocumentedMakeTargetsExist(t *testing.T) {
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, m := range makeTarget.FindAllStringSubmatch(string(makefile), -1) {
		targets = append(targets, m[1])
	}
	for _, doc := range documents(t) {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, line := range commandLines(string(text), "make") {
			for _, word := range strings.Fields(line)[1:] {
				if !strings.Contains(word, "=") && !slices.Contains(targets, word) {
					t.Errorf("%s: %s: no target %s", doc, line, word)
				}
			}
		}
	}
}

var pathLike = regexp.MustCompile("`((?:cmd|packages|assemble|sign|configs|testdata|docs|\\.ci)/[A-Za-z0-9_./-]*)`")

func TestDocumentedPathsExist(t *testing.T) {
	for _, doc := range documents(t) {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, m := range pathLike.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join("../..", m[1])); err != nil {
				t.Errorf("%s: %v", doc, err)
			}
		}
	}
}

// Every flag of every command has an environment variable that no other flag
// has, and a usage text.
func TestFlagsAreDescribed(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s: no description", c.CommandPath(), f.Name)
			}
			if strings.ToUpper(envName(f.Name)) != envName(f.Name) || strings.Contains(envName(f.Name), "-") {
				t.Errorf("%s --%s: environment variable %s", c.CommandPath(), f.Name, envName(f.Name))
			}
		})
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(streams{}))
}
