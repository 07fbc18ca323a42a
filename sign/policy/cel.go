package policy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/ext"
)

// celRule is a compiled expression.
type celRule struct {
	name, text, message string
	program             cel.Program
}

// Bounds of an expression: its length in bytes, and the steps it may take.
const (
	maxCEL     = 16 << 10
	maxCELCost = 10_000_000
)

// celEnv declares the variables of an expression, all made of JSON values.
var celEnv = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("image", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("statements", cel.ListType(cel.DynType)),
		cel.Variable("sbom", cel.DynType),
		cel.Variable("packages", cel.ListType(cel.MapType(cel.StringType, cel.StringType))),
		cel.Variable("signatures", cel.ListType(cel.MapType(cel.StringType, cel.StringType))),
		ext.Strings(), ext.Sets(),
	)
})

func compileCEL(r RuleFile) (celRule, error) {
	if len(r.CEL) > maxCEL {
		return celRule{}, fmt.Errorf("found %d bytes, expected at most %d", len(r.CEL), maxCEL)
	}
	env, err := celEnv()
	if err != nil {
		return celRule{}, err
	}
	ast, issues := env.Compile(r.CEL)
	if issues.Err() != nil {
		return celRule{}, errors.New(strings.Join(strings.Fields(strings.ReplaceAll(issues.Err().Error(), "ERROR: <input>:", "")), " "))
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return celRule{}, fmt.Errorf("gives %s, expected true or false", t)
	}
	p, err := env.Program(ast, cel.CostLimit(maxCELCost), cel.InterruptCheckFrequency(1000))
	if err != nil {
		return celRule{}, err
	}
	return celRule{name: r.Name, text: r.CEL, message: r.Message, program: p}, nil
}

// evaluate returns why the rule fails, or "".
func (r celRule) evaluate(ctx context.Context, vars map[string]any) string {
	out, _, err := r.program.ContextEval(ctx, vars)
	if err != nil {
		return "expression: " + err.Error()
	}
	switch b, isBool := out.Value().(bool); {
	case !isBool:
		return fmt.Sprintf("expression gives %v, expected true or false", out.Type())
	case b:
		return ""
	case r.message != "":
		return r.message
	}
	return "expression is false"
}
