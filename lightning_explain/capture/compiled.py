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


def _is_torchs_own(module: nn.Module) -> bool:
    return type(module).__module__.startswith(("torch.nn.", "torch.ao."))


def names_left_alone(model: nn.Module) -> frozenset[str]:
    """Name the modules of torch that run eagerly although a module that they are in was compiled in place.

    `module.compile()` compiles the forwards of modules of one's own that it meets, and leaves alone those of torch
    unless a hook sits on them. A forward of one's own takes in all that it calls.

    Example:
        >>> net = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.ReLU())
        >>> net[0].compile(backend="eager")
        >>> sorted(names_left_alone(net))
        ['0', '0.0', '0.1']
    """
    found: list[str] = []

    def walk(module: nn.Module, name: str, *, in_place: bool) -> None:
        in_place = in_place or vars(module).get("_compiled_call_impl") is not None
        if type(module).__name__ == "OptimizedModule" or (in_place and not _is_torchs_own(module)):
            return  # compiled as a whole
        found.extend([name] if in_place else [])
        for part, child in module.named_children():
            walk(child, f"{name}.{part}" if name else part, in_place=in_place)

    walk(model, "", in_place=False)
    return frozenset(found)
