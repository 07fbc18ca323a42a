package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/packages/definition"
)

// newPackage is the parent of the commands about package definitions and
// packages.
func newPackage(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "package",
		Short: "Work with package definitions and packages",
		Long:  `Work with package definitions (melange's YAML) and with the packages made of them.`,
	}
	cmd.AddCommand(newPackageNew(a), newPackageCheck(a), newPackageCompile(a), newPackageGraph(a), newPackageBuild(a), newPackageTest(a), newPackageProve(a))
	cmd.AddCommand(newPackageSign(a), newPackageVerify(a), newPackageShow(a), newPackageLint(a))
	return cmd
}

// definitionFlags are the flags of every command that compiles definitions. The
// names are melange's.
type definitionFlags struct {
	pipelineDirs []string
	options      []string
	varsFile     string
	commit       string
}

func (d *definitionFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&d.pipelineDirs, "pipeline-dir", nil, "more `directories` with reusable pipelines, searched before those that cairn brings")
	f.StringSliceVar(&d.options, "build-option", nil, "build `options` of the definition to switch on")
	f.StringVar(&d.varsFile, "vars-file", "", "a `file` with variables, name: value, over the definition's vars")
	f.StringVar(&d.commit, "git-commit", "", "the `commit` of the definition, for packages that name none")
}

// read returns what the flags say.
func (d *definitionFlags) read(a *app, arch string) (definition.Options, definition.CompileOptions, error) {
	arch, err := packageArch(arch)
	co := definition.CompileOptions{Arch: arch, Options: d.options}
	for _, dir := range d.pipelineDirs {
		co.PipelineDirs = append(co.PipelineDirs, a.at(dir))
	}
	o := definition.Options{Commit: d.commit}
	if err == nil && d.varsFile != "" {
		o.Vars, err = definition.ReadVars(a.at(d.varsFile))
	}
	return o, co, err
}

// packageArch reads --arch; host is the machine's.
func packageArch(name string) (string, error) {
	if name == "host" {
		name = runtime.GOARCH
	}
	arch, err := definition.ParseArch(name)
	if err != nil {
		return "", usageError{fmt.Errorf("--arch: %w", err)}
	}
	return arch, nil
}

// definitionFiles are the definitions that an argument means: a file, or all of
// a directory.
func definitionFiles(a *app, arg string) ([]string, error) {
	path := a.at(arg)
	if fi, err := os.Stat(path); err != nil || !fi.IsDir() {
		return []string{path}, err
	}
	files, err := definition.Files(path)
	if err == nil && len(files) == 0 {
		err = usageError{fmt.Errorf("%s: found no .yaml file, expected definitions", arg)}
	}
	return files, err
}

// warnDefinition prints what is suspect in a definition.
func (a *app) warnDefinition(list []definition.Problem) {
	if !a.warnings {
		return
	}
	for _, w := range list {
		fmt.Fprintf(a.std.err, "cairn: warning: %s\n", strings.ReplaceAll(w.String(), "\n", "\n  "))
	}
}
