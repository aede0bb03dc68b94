-- Health of a firebreak.dev/Incident for Argo CD. docs/gitops.md says how it gets into the ConfigMap argocd-cm.
-- Degraded: something is stuck. Progressing: at work, or the operator has not seen this spec yet.
-- Suspended: a person is waited for. Healthy: done, or closed.
-- Argo CD runs this in Lua 5.1 without its libraries: what is read here may be missing or of another type.
local hs = { status = "Progressing", message = "not seen by Firebreak yet" }

local status = obj.status
if type(status) ~= "table" then
  return hs
end
if type(status.message) == "string" and status.message ~= "" then
  hs.message = status.message
end

local metadata = obj.metadata
local generation = type(metadata) == "table" and metadata.generation or nil
if type(status.conditions) ~= "table" or (generation ~= nil and status.observedGeneration ~= generation) then
  return hs
end

local is = {}
for _, condition in ipairs(status.conditions) do
  if type(condition) == "table" and type(condition.type) == "string" then
    is[condition.type] = condition.status
  end
end

if status.phase == "Closed" then
  hs.status = "Healthy"
elseif is.Stalled == "True" then
  hs.status = "Degraded"
elseif is.Reconciling == "True" then
  hs.status = "Progressing"
elseif is.ActionRequired == "True" then
  hs.status = "Suspended"
elseif is.Ready == "True" then
  hs.status = "Healthy"
elseif is.Ready ~= nil then
  hs.status = "Degraded"
end
return hs
