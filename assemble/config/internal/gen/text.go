package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/cairn-dev/cairn/assemble/config"
)

// apkoTexts says what apko's keys mean.
var apkoTexts = map[string]string{
	"contents":   "What the image is made of.",
	"entrypoint": "What a container of the image runs.",
	"cmd":        "The arguments that follow the entrypoint unless the container gives others. Split into words as a shell would.",
	"stop-signal": "The signal that asks the container to stop: a name with or without SIG, or a number from 1 to 64. " +
		"The default is the engine's.",
	"work-dir":     "The absolute path of the directory that the container starts in.",
	"accounts":     "The users and groups to add to the image, and which of them to run as.",
	"archs":        "The architectures to build for, by their OCI or apk names: 386 (x86), amd64 (x86_64), arm64 (aarch64), arm/v6 (armhf), arm/v7 (armv7), loong64 (loongarch64), ppc64le, riscv64, s390x. `all` stands for all of them and `host` for this machine's. Each is built once, however often it is named.",
	"environment":  "Environment variables. PATH and SSL_CERT_FILE are set too when they are not given.",
	"paths":        "Changes to the tree, made in this order after packages and `files`.",
	"vcs-url":      "Where the configuration comes from, as `URL@REVISION`. Becomes the annotations org.opencontainers.image.source and org.opencontainers.image.revision. Not taken from an included configuration.",
	"annotations":  "Annotations of the manifest and the image index, and labels of the image.",
	"include":      "A local configuration that this one completes; see [Includes](#includes).",
	"volumes":      "Absolute paths that engines make volumes of.",
	"layering":     "How the image is split into layers.",
	"certificates": "Certificate authorities to trust in the image.",

	"contents.build_repositories":   "Repositories that packages are taken from, and that the image does not mention.",
	"contents.runtime_repositories": "Repositories for the image's /etc/apk/repositories that no package is taken from.",
	"contents.repositories":         "Repositories that packages are taken from and that are written to the image's /etc/apk/repositories. Each is an http:// or https:// URL, a local directory, file:///directory or builtin://NAME; written as `@tag URL` it is used only for packages requested as `name@tag`. The index is looked up below it, per architecture.",
	"contents.keyring":              "The public keys that indexes must be signed with: files, http:// or https:// URLs, file:///FILE, builtin://NAME/FILE, or the PEM text itself. A key is known by its file name. Repositories with an entry in `keyrings` use that instead.",
	"contents.runtime_keyring":      "Public keys to add to the image's /etc/apk/keys. They verify nothing while the image is built.",
	"contents.packages":             "The packages to install, with what they depend on: `name`, `name=1.2-r0` and the other operators (< > <= >= ~ ><), `name@tag`; `!name` keeps a package out. A mapping asks for parts of a package only: `{name: openssl, slice: libs}`.",
	"contents.packages{}.name":      "The package, with operator, version and tag as above.",
	"contents.packages{}.slice":     "The names of the slices that are wanted, one or a list. What they need comes with them; of everything else the package has, nothing is in the image.",
	"contents.baseimage":            "An image to build upon, as in apko: its layers stay as they are, its packages count as installed, what is added goes into layers above. Excludes entrypoint, cmd, stop-signal, work-dir, accounts, environment, paths, annotations, files, app and layering.",

	"contents.runtime_keyring[].name":    "The file name below /etc/apk/keys: letters, digits, `_`, `-` and `.`, not starting with `.`. No two entries have the same.",
	"contents.runtime_keyring[].content": "The RSA public key in PEM form.",
	"contents.baseimage.image":           "The directory of the base image, an OCI layout. Looked up from the working directory, then in the include paths.",
	"contents.baseimage.apkindex":        "The directory with ARCH/APKINDEX, which lists the packages in the base image: a copy of its lib/apk/db/installed. It must name the same packages as that, where the image has one. Looked up as the image is.",

	"entrypoint.type":           "`service-bundle` runs the services under s6 and adds that package.",
	"entrypoint.command":        "The command line, split into words as a shell would. A service bundle has its own.",
	"entrypoint.shell-fragment": "A script for `/bin/sh -c`; used instead of the command.",
	"entrypoint.services":       "The command lines of a service bundle by their names; each becomes /sv/NAME/run.",

	"accounts.run-as": "The user to run as: a name or number, with `:GROUP` after it if wanted.",
	"accounts.users":  "Users to add to /etc/passwd and /etc/shadow, without password. Missing home directories are made.",
	"accounts.groups": "Groups to add to /etc/group.",

	"accounts.users[].username":   "The name. Given twice, all else must be the same.",
	"accounts.users[].uid":        "The number; not 0, for root exists.",
	"accounts.users[].gid":        "The number of the main group.",
	"accounts.users[].shell":      "The absolute path of the login shell.",
	"accounts.users[].homedir":    "The absolute path of the home directory.",
	"accounts.groups[].groupname": "The name. Given twice, all else must be the same.",
	"accounts.groups[].gid":       "The number.",
	"accounts.groups[].members":   "The names of the users in it beside those whose main group it is.",

	"paths[].path":        "The absolute path to work on.",
	"paths[].type":        "`directory` and `empty-file` make one; `hardlink` and `symlink` make a link to `source`; `permissions` changes what is there.",
	"paths[].uid":         "The owner's number. Left alone when neither uid nor gid is given; 0 when only gid is.",
	"paths[].gid":         "The group's number. Left alone when neither uid nor gid is given; 0 when only uid is.",
	"paths[].permissions": "The permission bits with setuid, setgid and sticky, at most 0o7777; see [Permissions](#permissions).",
	"paths[].source":      "What a link points to: an absolute path for a hardlink, any text for a symlink.",
	"paths[].recursive":   "Whether a directory or permissions entry also changes everything below its path.",

	"layering.strategy": "`package` gives the packages that are expected to cost most a layer of their own, taken as they are; `origin` keeps packages of one origin together, as apko does; `single` makes one layer.",
	"layering.budget":   "The largest number of layers, 1 to 127.",

	"certificates.additional": "Certificates to install below /usr/local/share/ca-certificates and to append to the bundles and the Java trust store.",
	"certificates.providers":  "Virtual packages: certificates of the installed packages that provide one of them are trusted too.",

	"certificates.additional[].name":    "The file name's beginning: letters, digits, `_`, `-` and `.`, not starting with `.`.",
	"certificates.additional[].content": "One certificate in PEM form.",
}

// allTexts adds what the Go comments say about cairn's own keys.
func allTexts(dir string) (map[string]string, error) {
	texts := maps.Clone(apkoTexts)
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, "config.go"), nil, parser.ParseComments)
	if err != nil {
		return nil, err
	}
	for typeName, prefix := range map[string]string{"Config": "", "File": "files[].", "App": "app[].", "Lint": "lint.", "TwinImage": "twin."} {
		for name, text := range comments(file, typeName) {
			texts[prefix+name] = text
		}
	}
	return texts, nil
}

// comments returns the comments of a struct type's fields by their YAML names.
func comments(file *ast.File, typeName string) map[string]string {
	out := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != typeName {
			return true
		}
		body, ok := spec.Type.(*ast.StructType)
		if !ok {
			return false
		}
		for _, f := range body.Fields.List {
			if name := yamlName(f.Tag); name != "" && len(f.Names) == 1 {
				out[name] = sentence(f.Names[0].Name, f.Doc.Text())
			}
		}
		return false
	})
	return out
}

// sentence drops the "Name is" that Go comments begin with.
func sentence(name, text string) string {
	text = strings.Join(strings.Fields(text), " ")
	for _, verb := range []string{" is ", " are "} {
		if rest, ok := strings.CutPrefix(text, name+verb); ok {
			return strings.ToUpper(rest[:1]) + rest[1:]
		}
	}
	return text
}

func yamlName(tag *ast.BasicLit) string {
	if tag == nil {
		return ""
	}
	text, err := strconv.Unquote(tag.Value)
	if err != nil {
		return ""
	}
	name, _, _ := strings.Cut(reflect.StructTag(text).Get("yaml"), ",")
	return strings.TrimPrefix(name, "-")
}

// complete checks that every key has a text and every text a key.
func complete(root config.Key, texts map[string]string) error {
	known := map[string]bool{}
	var problems []error
	var walk func(k config.Key, entry bool)
	walk = func(k config.Key, entry bool) {
		if k.Path != "" && !entry {
			known[k.Path] = true
			if texts[k.Path] == "" {
				problems = append(problems, fmt.Errorf("%s: no text", k.Path))
			}
		}
		for _, f := range k.Keys {
			walk(f, false)
		}
		if k.Mapping != nil {
			walk(*k.Mapping, true)
		}
		if k.Elem != nil {
			walk(*k.Elem, true)
		}
	}
	walk(root, false)
	for _, path := range slices.Sorted(maps.Keys(texts)) {
		if !known[path] {
			problems = append(problems, fmt.Errorf("%s: a text, but no such key", path))
		}
	}
	return errors.Join(problems...)
}
