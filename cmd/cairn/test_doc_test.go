package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/cairn-dev/cairn/assemble/imagetest"
)

// TestTestDocument runs the commands of docs/test.md in order, with the files
// that stand in it, and compares what they print with what it shows.
func TestTestDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/test.md")
	if err != nil {
		t.Fatal(err)
	}
	hello, err := os.ReadFile("../../configs/hello.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	files := "-- hello.yaml --\n" + string(hello)
	var shown []string
	for _, m := range storyBlock.FindAllStringSubmatch(string(text), -1) {
		language, name, body := m[1], m[2], m[3]
		switch {
		case name != "":
			files += "-- " + name + " --\n" + body
		case language == "sh":
			for line := range strings.Lines(body) {
				line = strings.TrimSpace(line)
				if line == "cairn test hello/ hello.test.yaml" && !canRunCommands(t) {
					line += " # exit code 12"
				}
				script.WriteString(storyLine(line) + "\n")
			}
		case language == "text":
			fmt.Fprintf(&script, "says %d\n", len(shown))
			shown = append(shown, body)
		}
	}
	if len(shown) != 2 {
		t.Fatalf("found %d outputs in the document, expected 2", len(shown))
	}
	script.WriteString("grep '<testsuites tests=\"13\" failures=\"0\" skipped=\"0\">' report.xml\n")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "test.txtar"), []byte(script.String()+files), 0o644); err != nil {
		t.Fatal(err)
	}
	p := scriptParams(dir)
	p.Cmds["says"] = func(ts *testscript.TestScript, _ bool, args []string) {
		var i int
		_, err := fmt.Sscan(args[0], &i)
		ts.Check(err)
		pattern := regexp.MustCompile(`^` + strings.ReplaceAll(regexp.QuoteMeta(shown[i]), "…", ".*") + `$`)
		if out := ts.ReadFile("stdout"); !pattern.MatchString(out) {
			ts.Fatalf("found\n%s\nexpected\n%s", out, shown[i])
		}
	}
	testscript.Run(t, p)
}

// canRunCommands tells whether this machine has something to run commands with.
func canRunCommands(t *testing.T) bool {
	t.Helper()
	t.Setenv("DOCKER_HOST", "") // scripts do not have it either
	if _, err := imagetest.NewDocker(t.Context(), imagetest.DockerOptions{}); err == nil {
		return true
	}
	_, err := imagetest.NewBubblewrap(t.Context(), t.TempDir())
	return err == nil
}
