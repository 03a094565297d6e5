"""Which modules run inside code that torch.compile made."""

from torch import nn


def is_compiled(module: nn.Module) -> bool:
    """Say whether a module was compiled, by `torch.compile(module)` or `module.compile()`."""
    # by name: importing the class would import the compiler
    return type(module).__name__ == "OptimizedModule" or vars(module).get("_compiled_call_impl") is not None


def names_inside_compiled(model: nn.Module) -> frozenset[str]:
    """Name the modules that run inside a compiled one, that one included.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU()))
        >>> net[1].compile(backend="eager")
        >>> sorted(names_inside_compiled(net))
        ['1', '1.0']
    """
    roots = [name for name, module in model.named_modules() if is_compiled(module)]
    return frozenset(
        name
        for name, _ in model.named_modules()
        if any(not root or name == root or name.startswith(f"{root}.") for root in roots)
    )
