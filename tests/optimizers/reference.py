"""Each update rule once more, scalar by scalar in plain Python, as the papers print it."""

import math

import minirnn as m


def sgd(values, grads, memory, t, *, rate, decay, momentum=0.0, nesterov=False):
    for k, value in enumerate(values):
        g = grads[k] + decay[k] * value
        memory[k] = v = momentum * memory.get(k, 0.0) + g
        values[k] -= rate * (g + momentum * v if nesterov else v)


def rmsprop(
    values,
    grads,
    memory,
    t,
    *,
    rate,
    decay,
    rho=0.9,
    epsilon=1e-8,
    momentum=0.0,
    centered=False,
):
    for k, value in enumerate(values):
        g = grads[k] + decay[k] * value
        s, a, v = memory.get(k, (0.0, 0.0, 0.0))
        s, a = rho * s + (1 - rho) * g * g, rho * a + (1 - rho) * g
        v = momentum * v + g / (math.sqrt(s - a * a if centered else s) + epsilon)
        memory[k] = s, a, v
        values[k] -= rate * v


def adagrad(values, grads, memory, t, *, rate, decay, epsilon=1e-10):
    for k, value in enumerate(values):
        g = grads[k] + decay[k] * value
        memory[k] = s = memory.get(k, 0.0) + g * g
        values[k] -= rate * g / (math.sqrt(s) + epsilon)


def adam(
    values,
    grads,
    memory,
    t,
    *,
    rate,
    decay,
    betas=(0.9, 0.999),
    epsilon=1e-8,
    amsgrad=False,
    own=False,
):
    beta1, beta2 = betas
    for k, value in enumerate(values):
        g = grads[k] + (0.0 if own else decay[k] * value)
        if own:
            value -= rate * decay[k] * value
        first, second, largest = memory.get(k, (0.0, 0.0, 0.0))
        first, second = beta1 * first + (1 - beta1) * g, beta2 * second + (1 - beta2) * g * g
        largest = max(largest, second)
        memory[k] = first, second, largest
        unbiased = (largest if amsgrad else second) / (1 - beta2**t)
        values[k] = value - rate * first / (1 - beta1**t) / (math.sqrt(unbiased) + epsilon)


def nadam(
    values,
    grads,
    memory,
    t,
    *,
    rate,
    decay,
    betas=(0.9, 0.999),
    epsilon=1e-8,
    momentum_decay=4e-3,
):
    beta1, beta2 = betas
    mu = [beta1 * (1 - 0.5 * 0.96 ** (k * momentum_decay)) for k in range(1, t + 2)]
    for k, value in enumerate(values):
        g = grads[k] + decay[k] * value
        first, second = memory.get(k, (0.0, 0.0))
        first, second = beta1 * first + (1 - beta1) * g, beta2 * second + (1 - beta2) * g * g
        memory[k] = first, second
        ahead = (1 - mu[t - 1]) * g / (1 - math.prod(mu[:t]))
        ahead += mu[t] * first / (1 - math.prod(mu))
        values[k] -= rate * ahead / (math.sqrt(second / (1 - beta2**t)) + epsilon)


def adamw(values, grads, memory, t, **keywords):
    adam(values, grads, memory, t, own=True, **keywords)


# name: our class, the rule above, keywords for both
RULES = {
    "SGD": (m.SGD, sgd, {}),
    "SGD momentum": (m.SGD, sgd, {"momentum": 0.8}),
    "SGD nesterov": (m.SGD, sgd, {"momentum": 0.8, "nesterov": True}),
    "RMSProp": (m.RMSProp, rmsprop, {}),
    "RMSProp slow": (m.RMSProp, rmsprop, {"rho": 0.99, "epsilon": 1e-3}),
    "Adagrad": (m.Adagrad, adagrad, {}),
    "Adagrad damped": (m.Adagrad, adagrad, {"epsilon": 0.1}),
    "Adam": (m.Adam, adam, {}),
    "Adam other betas": (m.Adam, adam, {"betas": (0.5, 0.7), "epsilon": 1e-2}),
    "AdamW": (m.AdamW, adamw, {}),
    "RMSProp momentum": (m.RMSProp, rmsprop, {"momentum": 0.8}),
    "RMSProp centered": (m.RMSProp, rmsprop, {"centered": True, "epsilon": 1e-2}),
    "RMSProp both": (m.RMSProp, rmsprop, {"momentum": 0.5, "centered": True, "epsilon": 0.1}),
    "AMSGrad": (m.Adam, adam, {"amsgrad": True, "betas": (0.9, 0.6)}),
    "AdamW AMSGrad": (m.AdamW, adamw, {"amsgrad": True, "betas": (0.9, 0.6)}),
    "Nadam": (m.Nadam, nadam, {}),
    "Nadam other": (m.Nadam, nadam, {"betas": (0.5, 0.7), "momentum_decay": 0.5}),
}
