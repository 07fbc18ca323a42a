package main

import (
	"fmt"
	"strings"

	"github.com/cairn-dev/cairn/assemble/config"
)

// markdown writes docs/configuration.md.
func markdown(root config.Key, texts map[string]string) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, introduction, messages())
	b.WriteString("\n## Keys\n\n")
	b.WriteString("A key in **bold** is required where its mapping stands; one marked † is cairn's own and unknown to apko.\n")
	section(&b, root, texts)
	b.WriteString(rest)
	return []byte(b.String())
}

// messages returns what config says about the mistaken configuration.
func messages() string {
	_, err := config.LoadBytes("image.yaml", []byte(mistaken), config.Options{})
	if err == nil {
		return ""
	}
	return err.Error()
}

// section writes the table of one mapping, then those of the mappings below.
func section(b *strings.Builder, k config.Key, texts map[string]string) {
	title := "Top level"
	if k.Path != "" {
		title = "`" + strings.TrimSuffix(k.Path, "[]") + "`"
	}
	if name, ok := strings.CutSuffix(k.Path, "{}"); ok {
		title = "`" + name + "`, each entry that is a mapping"
	}
	if strings.HasSuffix(k.Path, "[]") {
		title += ", each entry"
	}
	fmt.Fprintf(b, "\n### %s\n\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n", title)
	for _, f := range k.Keys {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", keyCell(f), typeCell(f), defaultCell(f), cell(texts[f.Path]))
	}
	for _, f := range k.Keys {
		for f.Type == "list" {
			f = *f.Elem
		}
		if f.Mapping != nil {
			f = *f.Mapping
		}
		if f.Keys != nil {
			section(b, f, texts)
		}
	}
}

func keyCell(k config.Key) string {
	name := "`" + k.Name + "`"
	if k.Required {
		name = "**" + name + "**"
	}
	if k.Own {
		name += " †"
	}
	return name
}

func typeCell(k config.Key) string {
	switch {
	case k.Type == "list" && k.Elem.Type == "mapping":
		return "list of mappings"
	case k.Type == "list" && k.Elem.Mapping != nil:
		return "list of text or mappings"
	case k.Type == "list" && k.One:
		return k.Elem.Type + ", or a list of it"
	case k.Type == "list":
		return "list of " + k.Elem.Type
	case k.Type == "mapping" && k.Elem != nil:
		return "names and " + k.Elem.Type
	case k.Octal:
		return "octal number"
	}
	return k.Type
}

func defaultCell(k config.Key) string {
	switch k.Default {
	case "":
		return ""
	case "uid":
		return "as `uid`"
	}
	return "`" + k.Default + "`"
}

// cell makes a text fit into one cell of a table.
func cell(s string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(s), " "), "|", `\|`)
}
