package definition

import (
	"time"
)

// Definition is a package definition as [Read] leaves it: variables that are
// known when reading are substituted and ranges are expanded. The JSON form has
// melange's names.
type Definition struct {
	// Package describes the main package, whose name is the origin of all.
	Package Package `json:"package" yaml:"package"`
	// Environment is what the build sandbox is made of.
	Environment Environment `json:"environment" yaml:"environment,omitempty"`
	// Capabilities changes what the sandbox's processes may do.
	Capabilities Capabilities `json:"capabilities" yaml:"capabilities,omitempty"`
	// Pipeline are the steps that fill the main package.
	Pipeline []Pipeline `json:"pipeline,omitempty" yaml:"pipeline,omitempty"`
	// Subpackages are the packages made beside the main one, ranges expanded.
	Subpackages []Subpackage `json:"subpackages,omitempty" yaml:"subpackages,omitempty"`
	// Data are the lists that ranges went over; empty once they are expanded.
	Data []RangeData `json:"data,omitempty" yaml:"data,omitempty"`
	// Update says how new versions are found. It is kept for other programs.
	Update Update `json:"update" yaml:"update,omitempty"`
	// Vars and VarTransforms are the definition's own variables.
	Vars          map[string]string `json:"vars,omitempty" yaml:"vars,omitempty"`
	VarTransforms []VarTransform    `json:"var-transforms,omitempty" yaml:"var-transforms,omitempty"`
	// Options are variants of the build, by name.
	Options map[string]BuildOption `json:"options,omitempty" yaml:"options,omitempty"`
	// Test are the steps that test the main package, in a sandbox of its own.
	Test *Test `json:"test,omitempty" yaml:"test,omitempty"`

	// File is the name that the definition was read by, for messages.
	File string `json:"-" yaml:"-"`
	// SHA256 is the lower-case hexadecimal hash of the file's bytes.
	SHA256 string `json:"-" yaml:"-"`
	// Warnings are what is suspect and accepted.
	Warnings []Problem `json:"-" yaml:"-"`

	at `json:"-" yaml:"-"`
}

// Package describes the main package.
type Package struct {
	Name    string `json:"name" yaml:"name"`
	Version string `json:"version" yaml:"version"`
	// Epoch counts builds of one version: the full version is VERSION-rEPOCH.
	Epoch       uint64            `json:"epoch" yaml:"epoch"`
	Description string            `json:"description,omitempty" yaml:"description,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty" yaml:"annotations,omitempty"`
	URL         string            `json:"url,omitempty" yaml:"url,omitempty"`
	// Commit is the revision of the definition itself.
	Commit string `json:"commit,omitempty" yaml:"commit,omitempty"`
	// TargetArchitecture restricts the architectures, in apk's names; empty or
	// the one word "all" is every architecture.
	TargetArchitecture []string       `json:"target-architecture,omitempty" yaml:"target-architecture,omitempty"`
	Copyright          []Copyright    `json:"copyright,omitempty" yaml:"copyright,omitempty"`
	Dependencies       Dependencies   `json:"dependencies" yaml:"dependencies,omitempty"`
	Options            *PackageOption `json:"options,omitempty" yaml:"options,omitempty"`
	Scriptlets         *Scriptlets    `json:"scriptlets,omitempty" yaml:"scriptlets,omitempty"`
	Checks             Checks         `json:"checks" yaml:"checks,omitempty"`
	CPE                CPE            `json:"cpe" yaml:"cpe,omitempty"`
	SetCap             []SetCap       `json:"setcap,omitempty" yaml:"setcap,omitempty"`
	// Timeout bounds the whole build; 0 is no bound.
	Timeout       time.Duration `json:"timeout,omitempty" yaml:"timeout,omitempty"`
	Resources     *Resources    `json:"resources,omitempty" yaml:"resources,omitempty"`
	TestResources *Resources    `json:"test-resources,omitempty" yaml:"test-resources,omitempty"`

	at `json:"-" yaml:"-"`
}

// Copyright is one licence and what it covers.
type Copyright struct {
	Paths       []string `json:"paths,omitempty" yaml:"paths,omitempty"`
	Attestation string   `json:"attestation,omitempty" yaml:"attestation,omitempty"`
	// License is an SPDX expression.
	License string `json:"license" yaml:"license"`
	// LicensePath is a file of the workspace with the text of a licence that
	// SPDX does not know.
	LicensePath       string `json:"license-path,omitempty" yaml:"license-path,omitempty"`
	DetectionOverride string `json:"detection-override,omitempty" yaml:"detection-override,omitempty"`

	at `json:"-" yaml:"-"`
}

// Dependencies are what a package needs, offers and replaces, in the syntax of
// .PKGINFO.
type Dependencies struct {
	Runtime  []string `json:"runtime,omitempty" yaml:"runtime,omitempty"`
	Provides []string `json:"provides,omitempty" yaml:"provides,omitempty"`
	Replaces []string `json:"replaces,omitempty" yaml:"replaces,omitempty"`
	// ProviderPriority and ReplacesPriority are decimal numbers, or empty.
	ProviderPriority string `json:"provider-priority,omitempty" yaml:"provider-priority,omitempty"`
	ReplacesPriority string `json:"replaces-priority,omitempty" yaml:"replaces-priority,omitempty"`

	at `json:"-" yaml:"-"`
}

// PackageOption steers what is found out about a package's files.
type PackageOption struct {
	NoProvides           bool `json:"no-provides,omitempty" yaml:"no-provides,omitempty"`
	NoDepends            bool `json:"no-depends,omitempty" yaml:"no-depends,omitempty"`
	NoCommands           bool `json:"no-commands,omitempty" yaml:"no-commands,omitempty"`
	NoVersionedShlibDeps bool `json:"no-versioned-shlib-deps,omitempty" yaml:"no-versioned-shlib-deps,omitempty"`
}

// Scriptlets are the scripts that apk runs, each with its own "#!" line.
type Scriptlets struct {
	Trigger       Trigger `json:"trigger" yaml:"trigger,omitempty"`
	PreInstall    string  `json:"pre-install,omitempty" yaml:"pre-install,omitempty"`
	PostInstall   string  `json:"post-install,omitempty" yaml:"post-install,omitempty"`
	PreDeinstall  string  `json:"pre-deinstall,omitempty" yaml:"pre-deinstall,omitempty"`
	PostDeinstall string  `json:"post-deinstall,omitempty" yaml:"post-deinstall,omitempty"`
	PreUpgrade    string  `json:"pre-upgrade,omitempty" yaml:"pre-upgrade,omitempty"`
	PostUpgrade   string  `json:"post-upgrade,omitempty" yaml:"post-upgrade,omitempty"`
}

// Trigger is a script that runs when one of the paths changes.
type Trigger struct {
	Script string   `json:"script,omitempty" yaml:"script,omitempty"`
	Paths  []string `json:"paths,omitempty" yaml:"paths,omitempty"`
}

// Checks says which linters only warn.
type Checks struct {
	Disabled []string `json:"disabled,omitempty" yaml:"disabled,omitempty"`
}

// CPE are the parts of the name that the NVD knows a package by (NISTIR 7695).
type CPE struct {
	Part      string `json:"part,omitempty" yaml:"part,omitempty"`
	Vendor    string `json:"vendor,omitempty" yaml:"vendor,omitempty"`
	Product   string `json:"product,omitempty" yaml:"product,omitempty"`
	Edition   string `json:"edition,omitempty" yaml:"edition,omitempty"`
	Language  string `json:"language,omitempty" yaml:"language,omitempty"`
	SWEdition string `json:"sw_edition,omitempty" yaml:"sw_edition,omitempty"`
	TargetSW  string `json:"target_sw,omitempty" yaml:"target_sw,omitempty"`
	TargetHW  string `json:"target_hw,omitempty" yaml:"target_hw,omitempty"`
	Other     string `json:"other,omitempty" yaml:"other,omitempty"`

	at `json:"-" yaml:"-"`
}

// SetCap gives a file of the package capabilities.
type SetCap struct {
	Path string `json:"path,omitempty" yaml:"path,omitempty"`
	// Add maps capabilities, several separated by commas, to the sets they go
	// in, as in "+ep".
	Add    map[string]string `json:"add,omitempty" yaml:"add,omitempty"`
	Reason string            `json:"reason,omitempty" yaml:"reason,omitempty"`

	at `json:"-" yaml:"-"`
}

// Resources are what a build asks of the machine, as Kubernetes writes them.
type Resources struct {
	CPU      string `json:"cpu,omitempty" yaml:"cpu,omitempty"`
	CPUModel string `json:"cpumodel,omitempty" yaml:"cpumodel,omitempty"`
	Memory   string `json:"memory,omitempty" yaml:"memory,omitempty"`
	Disk     string `json:"disk,omitempty" yaml:"disk,omitempty"`
}

// Capabilities are added to or taken from the processes in the sandbox.
type Capabilities struct {
	Add  []string `json:"add,omitempty" yaml:"add,omitempty"`
	Drop []string `json:"drop,omitempty" yaml:"drop,omitempty"`
}

// Subpackage is one more package made by the same build. It has the version,
// the licences and the architectures of the main one.
type Subpackage struct {
	If           string            `json:"if,omitempty" yaml:"if,omitempty"`
	Range        string            `json:"range,omitempty" yaml:"range,omitempty"`
	Name         string            `json:"name" yaml:"name"`
	Pipeline     []Pipeline        `json:"pipeline,omitempty" yaml:"pipeline,omitempty"`
	Dependencies Dependencies      `json:"dependencies" yaml:"dependencies,omitempty"`
	Options      *PackageOption    `json:"options,omitempty" yaml:"options,omitempty"`
	Scriptlets   *Scriptlets       `json:"scriptlets,omitempty" yaml:"scriptlets,omitempty"`
	Description  string            `json:"description,omitempty" yaml:"description,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty" yaml:"annotations,omitempty"`
	URL          string            `json:"url,omitempty" yaml:"url,omitempty"`
	Commit       string            `json:"commit,omitempty" yaml:"commit,omitempty"`
	Checks       Checks            `json:"checks" yaml:"checks,omitempty"`
	Test         *Test             `json:"test,omitempty" yaml:"test,omitempty"`
	SetCap       []SetCap          `json:"setcap,omitempty" yaml:"setcap,omitempty"`

	at    `json:"-" yaml:"-"`
	index int // in the file, before ranges are expanded
}

// Test are steps that test a package, and what they need beside it.
type Test struct {
	Environment Environment `json:"environment" yaml:"environment,omitempty"`
	Pipeline    []Pipeline  `json:"pipeline" yaml:"pipeline"`
}

// Pipeline is one step: a script, a reusable pipeline, or a list of steps. In a
// [Build] the reusable pipeline's steps are put in and everything is
// substituted.
type Pipeline struct {
	// If is a condition; see the package condition.
	If   string `json:"if,omitempty" yaml:"if,omitempty"`
	Name string `json:"name,omitempty" yaml:"name,omitempty"`
	// Uses names a reusable pipeline, With its inputs.
	Uses string            `json:"uses,omitempty" yaml:"uses,omitempty"`
	With map[string]string `json:"with,omitempty" yaml:"with,omitempty"`
	// Runs is a script for /bin/sh.
	Runs string `json:"runs,omitempty" yaml:"runs,omitempty"`
	// Pipeline are steps that run after Runs.
	Pipeline []Pipeline `json:"pipeline,omitempty" yaml:"pipeline,omitempty"`
	// Inputs declares what a reusable pipeline takes.
	Inputs map[string]Input `json:"inputs,omitempty" yaml:"inputs,omitempty"`
	Needs  *Needs           `json:"needs,omitempty" yaml:"needs,omitempty"`
	Label  string           `json:"label,omitempty" yaml:"label,omitempty"`
	// Assertions are checked after the step.
	Assertions *Assertions `json:"assertions,omitempty" yaml:"assertions,omitempty"`
	// WorkDir is absolute or below /home/build; steps below inherit it.
	WorkDir string `json:"working-directory,omitempty" yaml:"working-directory,omitempty"`
	// Environment is added to the sandbox's. Steps below have it too, under
	// their own, also where that is not written out here.
	Environment map[string]string `json:"environment,omitempty" yaml:"environment,omitempty"`

	// Skip is set in a [Build] when If does not hold there.
	Skip bool `json:"skip,omitempty" yaml:"-"`
	// Source and Git are set in a [Build] where the step unpacks something
	// that has to be taken before the sandbox starts.
	Source *Source    `json:"source,omitempty" yaml:"-"`
	Git    *GitSource `json:"git,omitempty" yaml:"-"`

	at `json:"-" yaml:"-"`
}

// Input is what a reusable pipeline takes.
type Input struct {
	Description string `json:"description,omitempty" yaml:"description,omitempty"`
	// Default is used when the input is not given or empty.
	Default  string `json:"default,omitempty" yaml:"default,omitempty"`
	Required bool   `json:"required,omitempty" yaml:"required,omitempty"`
}

// Needs are packages that a step's environment must have.
type Needs struct {
	Packages []string `json:"Packages,omitempty" yaml:"packages,omitempty"`
}

// Assertions are what must hold after a step.
type Assertions struct {
	// RequiredSteps is how many of the steps directly below must have run, no
	// more and no fewer.
	RequiredSteps int `json:"required-steps,omitempty" yaml:"required-steps,omitempty"`
}

// RangeData is a list that a subpackage's range goes over, by key.
type RangeData struct {
	Name  string            `json:"name" yaml:"name"`
	Items map[string]string `json:"items" yaml:"items"`

	at `json:"-" yaml:"-"`
}

// VarTransform makes the variable vars.TO by replacing what matches in From.
type VarTransform struct {
	From string `json:"from" yaml:"from"`
	// Match is a regular expression in Go's syntax.
	Match   string `json:"match" yaml:"match"`
	Replace string `json:"replace" yaml:"replace"`
	To      string `json:"to" yaml:"to"`

	at `json:"-" yaml:"-"`
}

// BuildOption is a variant of the build that the caller switches on.
type BuildOption struct {
	Vars        map[string]string `json:"Vars,omitempty" yaml:"vars,omitempty"`
	Environment struct {
		Contents struct {
			Packages struct {
				Add    []string `json:"Add,omitempty" yaml:"add,omitempty"`
				Remove []string `json:"Remove,omitempty" yaml:"remove,omitempty"`
			} `json:"Packages" yaml:"packages,omitempty"`
		} `json:"Contents" yaml:"contents,omitempty"`
	} `json:"Environment" yaml:"environment,omitempty"`
}
