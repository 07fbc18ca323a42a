package config

import (
	"reflect"

	"gopkg.in/yaml.v3"
)

// rule is what a key demands beyond its type. The zero rule demands nothing.
type rule struct {
	// required names the keys of a mapping that must be there and not empty.
	required []string
	// object checks a mapping as a whole.
	object func(object)
	// key checks each key of a free mapping.
	key func(c *checker, at place, name string)
	// text and number check a scalar of the right type.
	text   func(c *checker, at place, v string)
	number func(c *checker, at place, v int64)
	// values are all that a text may be; the empty text is allowed too.
	values []string
	// max is the largest number allowed; 0 means what the type holds.
	max int64
	// octal marks numbers that are permissions.
	octal bool
	// keepEmpty marks texts for which empty is not the same as not written.
	keepEmpty bool
	// mapping is a struct that a text may be instead; nil for none.
	mapping reflect.Type
	// one marks lists that a single value may stand for.
	one   bool
	merge mergeKind
	// fallback is the value of a key that is not written, for the reference.
	fallback string
}

// rules returns what each key demands, by path. Keys that are not listed
// demand their type only.
func rules() map[string]rule {
	all := map[string]rule{}
	for _, part := range []map[string]rule{contentRules(), accountRules(), runRules(), pathRules(), otherRules()} {
		for path, r := range part {
			all[path] = r
		}
	}
	return all
}

func contentRules() map[string]rule {
	return map[string]rule{
		"contents.repositories[]":            {text: checkRepository},
		"contents.build_repositories[]":      {text: checkRepository},
		"contents.runtime_repositories[]":    {text: checkRepository},
		"contents.keyring[]":                 {text: checkKeyLocation},
		"keyrings":                           {key: checkKeyringName},
		"keyrings.*":                         {merge: mergeWhole},
		"keyrings.*[]":                       {text: checkKeyLocation},
		"contents.packages[]":                {text: checkPackage, mapping: reflect.TypeFor[packageEntry]()},
		"contents.packages{}":                {required: []string{"name", "slice"}, object: checkEntry},
		"contents.packages{}.name":           {text: checkPackage},
		"contents.packages{}.slice":          {one: true},
		"contents.runtime_keyring[]":         {required: []string{"name", "content"}},
		"contents.runtime_keyring[].name":    {text: checkFileName},
		"contents.runtime_keyring[].content": {text: checkPublicKey},
		"contents.baseimage":                 {required: []string{"image", "apkindex"}, merge: mergeWhole},
		"contents.baseimage.image":           {text: checkLocalPath},
		"contents.baseimage.apkindex":        {text: checkLocalPath},
	}
}

func accountRules() map[string]rule {
	return map[string]rule{
		"accounts.run-as":             {text: checkRunAs, fallback: "root"},
		"accounts.users[]":            {required: []string{"username", "uid"}, object: checkUser},
		"accounts.users[].username":   {text: checkAccountName},
		"accounts.users[].gid":        {fallback: "uid"},
		"accounts.users[].shell":      {text: checkPasswdPath, fallback: defaultShell},
		"accounts.users[].homedir":    {text: checkPasswdPath, fallback: "/home/USERNAME"},
		"accounts.groups[]":           {required: []string{"groupname"}, object: checkGroup},
		"accounts.groups[].groupname": {text: checkAccountName},
		"accounts.groups[].members[]": {text: checkAccountName},
	}
}

func runRules() map[string]rule {
	return map[string]rule{
		"entrypoint":            {object: checkEntrypoint, merge: mergeWhole},
		"entrypoint.type":       {values: []string{serviceBundle}},
		"entrypoint.command":    {text: checkCommand},
		"entrypoint.services":   {key: checkServiceName},
		"entrypoint.services.*": {text: checkService},
		"cmd":                   {text: checkCommand},
		"stop-signal":           {text: checkSignal, fallback: "SIGTERM"},
		"work-dir":              {text: checkAbsolute, fallback: "/"},
		"volumes[]":             {text: checkAbsolute},
		"environment":           {key: checkVariable},
	}
}

func pathRules() map[string]rule {
	return map[string]rule{
		"paths[]":             {required: []string{"path", "type"}, object: checkPath},
		"paths[].path":        {text: checkImagePath},
		"paths[].type":        {values: []string{"directory", "empty-file", "hardlink", "symlink", "permissions"}},
		"paths[].permissions": {number: checkMode, max: maxMode, octal: true},
		"paths[].recursive":   {fallback: "false"},
		"files[]":             {required: []string{"path"}, object: checkFile},
		"files[].path":        {text: checkFilePath},
		"files[].source":      {text: checkLocalPath},
		"files[].content":     {keepEmpty: true},
		"files[].sha256":      {text: checkSHA256},
		"files[].mode":        {number: checkMode, max: maxMode, octal: true, fallback: "0o644"},
		"files[].uid":         {fallback: "0"},
		"files[].gid":         {fallback: "0"},
		"app[]":               {required: []string{"source", "path"}},
		"app[].source":        {text: checkLocalPath},
		"app[].path":          {text: checkFilePath},
		"app[].sha256":        {text: checkSHA256},
		"app[].uid":           {fallback: "0"},
		"app[].gid":           {fallback: "0"},
		"app[].mode":          {number: checkAppMode, max: 0o777, octal: true, fallback: "0o644"},
		"app[].dir-mode":      {number: checkMode, max: maxMode, octal: true, fallback: "0o755"},
		"app[].keep-setuid":   {fallback: "false"},
		"app[].exclude[]":     {text: checkExclude},
	}
}

func otherRules() map[string]rule {
	return map[string]rule{
		"archs":                             {merge: mergeWhole, fallback: "all"},
		"archs[]":                           {text: checkArch},
		"annotations":                       {key: checkAnnotation},
		"vcs-url":                           {text: checkVCS, merge: mergeNone},
		"include":                           {text: checkInclude, merge: mergeNone},
		"slices":                            {one: true},
		"slices[]":                          {text: checkLocalPath},
		"format":                            {text: checkFormat, fallback: "tar"},
		"lint.no-shell":                     {fallback: "false"},
		"lint.ignore[]":                     {text: checkIgnore},
		"twin.packages[]":                   {text: checkPackage},
		"layering":                          {object: checkLayering, merge: mergeWhole},
		"layering.strategy":                 {values: []string{StrategyPackage, StrategyOrigin, StrategySingle}, fallback: StrategyPackage},
		"layering.budget":                   {max: MaxBudget, fallback: "100"},
		"certificates":                      {merge: mergeWhole},
		"certificates.additional[]":         {required: []string{"name", "content"}},
		"certificates.additional[].name":    {text: checkFileName},
		"certificates.additional[].content": {text: checkCertificate},
		"certificates.providers[]":          {text: checkVirtual},
	}
}

// scalarNode reports whether a key is there with a scalar.
func (o object) has(name string) bool {
	n := o.values[name]
	return n != nil && (n.Kind != yaml.ScalarNode || n.Value != "")
}
