package config

import (
	"strings"
)

const (
	defaultShell  = "/bin/sh"
	serviceBundle = "service-bundle"
	// superviseCommand is what an entrypoint of type service-bundle runs, and
	// supervisor the package it comes from.
	superviseCommand = "/bin/s6-svscan /sv"
	supervisor       = "s6"
)

func checkUser(o object) {
	n := o.values["uid"]
	if n == nil {
		return // reported as missing
	}
	if v, ok := integer(n); ok && v == 0 {
		o.c.problem(o.place("uid"), impossible, "found 0, expected another number", "to run as root, use run-as: 0")
	}
}

func checkGroup(o object) {
	if o.values["gid"] == nil {
		o.c.warning(o.place("gid"), "missing", "the group gets number 0, which is root's", "")
	}
}

func checkEntrypoint(o object) {
	bundle, _ := o.get("type")
	switch {
	case o.has("shell-fragment") && (o.has("command") || bundle == serviceBundle):
		o.c.warning(o.place("shell-fragment"), "replaces the command", "expected one of command, shell-fragment and type: service-bundle", "")
	case bundle == serviceBundle && o.has("command"):
		if v, _ := o.get("command"); v != superviseCommand {
			o.c.warning(o.place("command"), "without effect", "a service bundle runs "+superviseCommand, "")
		}
	case bundle != serviceBundle && o.values["services"] != nil && len(o.values["services"].Content) > 0:
		o.c.warning(o.place("services"), "not started", "expected type: service-bundle beside it", "")
	}
}

func checkLayering(o object) {
	strategy, _ := o.get("strategy")
	if strategy == StrategySingle && o.has("budget") {
		o.c.warning(o.place("budget"), "without effect", "strategy single makes one layer", "")
	}
}

// checkPath checks the keys of one entry of paths against its type.
func checkPath(o object) {
	kind, ok := o.get("type")
	if !ok {
		return
	}
	source, _ := o.get("source")
	link := kind == "hardlink" || kind == "symlink"
	switch {
	case link && source == "":
		o.c.problem(o.place("source"), "missing", "expected what the "+kind+" points to", "")
	case kind == "hardlink" && !strings.HasPrefix(source, "/"):
		o.c.problem(o.place("source"), impossible, "found "+describe(o.values["source"])+", expected an absolute path", "")
	case kind == "hardlink" && hasDots(source):
		o.c.problem(o.place("source"), impossible, "found "+describe(o.values["source"])+", expected a path without \"..\"", "")
	case !link && source != "":
		o.c.warning(o.place("source"), "without effect", "type "+kind+" has no source", "")
	}
	recursive := false
	if n := o.values["recursive"]; n != nil {
		recursive, _ = truth(n)
	}
	if recursive && kind != "directory" && kind != "permissions" {
		o.c.warning(o.place("recursive"), "without effect", "only directory and permissions go below their path", "")
	}
	if o.values["permissions"] == nil && kind != "symlink" && kind != "hardlink" {
		o.c.warning(o.place("permissions"), "missing", "apko sets mode 0 then; expected such as 0o755", "")
	}
}

// checkFile checks that an entry of files has one source of content.
func checkFile(o object) {
	_, inline := o.get("content")
	local := o.has("source")
	switch {
	case inline && local:
		o.c.problem(o.place("source"), "conflict", "found content and source, expected one of them", "")
	case !inline && !local && o.values["content"] == nil:
		o.c.problem(o.place("content"), "missing", "expected content or source", "")
	}
}
